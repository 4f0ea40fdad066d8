// The program as users and scripts meet it: exit codes, one-line errors, JSON on stdout, and the
// main job on real files.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <fstream>

#include "lamp/base/json.h"
#include "lamp/formats/volume_io.h"
#include "support/ball_dataset.h"
#include "support/run_program.h"

namespace lamp::testing {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;
namespace fs = std::filesystem;

void expect_one_line_error(const ProgramResult& result, int exit_code, const std::string& part) {
  EXPECT_EQ(result.exit_code, exit_code) << result.err;
  const auto start = result.err.rfind("lamp: ");
  ASSERT_NE(start, std::string::npos) << result.err;
  const std::string last = result.err.substr(start);
  EXPECT_THAT(last, HasSubstr(part));
  EXPECT_EQ(std::count(last.begin(), last.end(), '\n'), 1) << result.err;
  EXPECT_EQ(result.err.find("frame #"), std::string::npos) << "a stack trace: " << result.err;
}

TEST(ProgramTest, HelpAndVersionAreFastAndGoToStdout) {
  const auto start = std::chrono::steady_clock::now();
  const ProgramResult help = run_lamp("--help");
  EXPECT_LT(std::chrono::steady_clock::now() - start,
            std::chrono::seconds(5));  // a hang, not a benchmark
  EXPECT_EQ(help.exit_code, 0);
  for (const char* command : {"synth", "check", "train", "segment", "evaluate", "info"})
    EXPECT_THAT(help.out, HasSubstr(command));
  EXPECT_THAT(run_lamp("--version").out, StartsWith("lamp "));
  EXPECT_THAT(run_lamp("train --help").out, HasSubstr("--resume"));
}

TEST(ProgramTest, UsageErrorsExitWithTwo) {
  expect_one_line_error(run_lamp(""), 2, "--help");
  expect_one_line_error(run_lamp("segmnt"), 2, "--help");
  expect_one_line_error(run_lamp("train -o run --no-such-option"), 2, "no-such-option");
  expect_one_line_error(run_lamp("train -o /tmp/none -c no-such-preset -d /tmp"), 2,
                        "no-such-preset");
  expect_one_line_error(run_lamp("synth --kind elephant -o /tmp/none"), 2, "elephant");
  expect_one_line_error(run_lamp("--threads 0 info x"), 2, "threads");
}

TEST(ProgramTest, NetworksAndWindowsThatCannotBeAreUsageErrors) {
  for (const char* command : {"bench step", "bench segment", "plan"}) {
    expect_one_line_error(run_lamp(std::string(command) + " --net unet --width 0 --input 32,32,32"),
                          2, "net.width: found 0, expected 1 to 1024");
    expect_one_line_error(
        run_lamp(std::string(command) + " --net unet --width -4 --input 32,32,32"), 2,
        "net.width: found -4");
  }
  expect_one_line_error(run_lamp("bench segment --width 4 --depth 2 --patch 4,32,32"), 2,
                        "--patch: found 4,32,32, smaller than the stride");
  expect_one_line_error(run_lamp("bench segment --width 4 --layout nhwc"), 2, "channels_last");
}

TEST(ProgramTest, APyTorchPickleIsRefusedWithTheWayToConvertIt) {
  const TemporaryFolder folder;
  std::ofstream(folder / "model.pt") << "PK\x03\x04 and more than eight bytes";
  expect_one_line_error(run_lamp("info " + quoted(folder / "model.pt")), 3,
                        "safetensors.torch.save_file");
}

TEST(ProgramTest, MissingAndBrokenInputExitsWithThreeAndNamesTheFile) {
  const TemporaryFolder folder;
  std::ofstream(folder / "broken.nii.gz") << "not gzip";
  std::ofstream(folder / "model.safetensors") << "short";
  fs::create_directories(folder / "empty");
  expect_one_line_error(run_lamp("info " + quoted(folder / "nothing.safetensors")), 3,
                        "nothing.safetensors");
  expect_one_line_error(run_lamp("info " + quoted(folder / "model.safetensors")), 3,
                        "model.safetensors");
  expect_one_line_error(run_lamp("check " + quoted(folder / "broken.nii.gz")), 3, "");
  expect_one_line_error(
      run_lamp("train -c demo -o " + quoted(folder / "run") + " -d " + quoted(folder / "empty")), 3,
      "dataset.json");
}

class MainJobTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder_ = new TemporaryFolder;
    write_ball_dataset(*folder_ / "data", 5);
    Json config = ball_config();
    config["curriculum"][1]["epochs"] = 12;
    config["optimizer"]["lr"] = 0.01;
    std::ofstream(*folder_ / "config.json") << config.dump();
    trained_ = new ProgramResult(run_lamp("train -q --json -d " + quoted(*folder_ / "data") +
                                          " -c " + quoted(*folder_ / "config.json") + " -o " +
                                          quoted(*folder_ / "run")));
  }
  static void TearDownTestSuite() {
    delete folder_;
    delete trained_;
  }
  static TemporaryFolder* folder_;
  static ProgramResult* trained_;
};
TemporaryFolder* MainJobTest::folder_ = nullptr;
ProgramResult* MainJobTest::trained_ = nullptr;

TEST_F(MainJobTest, TrainPrintsExactlyOneJsonDocument) {
  ASSERT_EQ(trained_->exit_code, 0) << trained_->err;
  const Json json = parse_json(trained_->out, "stdout");
  EXPECT_GT(json["best_dice"].get<double>(), 0.7);
}

TEST_F(MainJobTest, InfoNamesNetworkLabelsAndParameters) {
  const ProgramResult info = run_lamp("info --json " + quoted(*folder_ / "run"));
  ASSERT_EQ(info.exit_code, 0) << info.err;
  const Json json = parse_json(info.out, "stdout");
  EXPECT_EQ(json["labels"]["1"], "ball");
  EXPECT_GT(json["parameters"].get<int>(), 1000);
}

TEST_F(MainJobTest, SegmentsAndEvaluatesOnTheInputsGrid) {
  const fs::path out = *folder_ / "out";
  const ProgramResult segmented =
      run_lamp("segment -q -m " + quoted(*folder_ / "run") + " -i " +
               quoted(*folder_ / "data" / "imagesTr") + " --preview -o " + quoted(out));
  ASSERT_EQ(segmented.exit_code, 0) << segmented.err;
  for (int i = 0; i < 5; ++i) {
    const std::string name = "ball_" + std::to_string(i) + ".nii.gz";
    EXPECT_TRUE(fs::exists(out / ("ball_" + std::to_string(i) + ".png")));
    EXPECT_LT(
        corner_distance_voxels(read_volume_header(out / name).geometry,
                               read_volume_header(*folder_ / "data" / "imagesTr" / name).geometry),
        1e-6);
  }
  const Json cases = read_json(out / "segment.json");
  EXPECT_THAT(cases.dump(), HasSubstr("volume_mm3"));
  const ProgramResult evaluated = run_lamp(
      "evaluate --json -p " + quoted(out) + " -r " + quoted(*folder_ / "data" / "labelsTr") +
      " --preview -d " + quoted(*folder_ / "data"));  // whose pictures show both maps instead
  ASSERT_EQ(evaluated.exit_code, 0) << evaluated.err;
  EXPECT_GT(read_json(out / "summary.json")["foreground_mean"]["Dice"].get<double>(), 0.7);
}

// The images are noise about 0 with a ball of about 100.
TEST_F(MainJobTest, ValuesUnlikeThoseOfTrainingAreToldBySegmentAndCheck) {
  const fs::path in = *folder_ / "units";
  fs::create_directories(in);
  Volume image = read_image(*folder_ / "data" / "imagesTr" / "ball_0.nii.gz");
  write_volume(in / "same.nii.gz", image);
  image.voxels = image.voxels * 0.3;
  write_volume(in / "scaled.nii.gz", image);
  const fs::path out = *folder_ / "units-out";
  const ProgramResult segmented = run_lamp("segment -m " + quoted(*folder_ / "run") + " -i " +
                                           quoted(in) + " -o " + quoted(out));
  ASSERT_EQ(segmented.exit_code, 0) << segmented.err;
  EXPECT_THAT(segmented.err, HasSubstr("scaled.nii.gz: values unlike those of training"));
  EXPECT_THAT(segmented.err, ::testing::Not(HasSubstr("same.nii.gz: values unlike")));
  const Json report = read_json(out / "segment.json");
  for (const Json& found : report["cases"]) {
    const Json& intensities = found["intensities"];
    EXPECT_EQ(intensities["warnings"].size(), found["case"] == "scaled" ? 1U : 0U);
    EXPECT_TRUE(intensities["channels"][0]["percentiles"].contains("99.5"));
    EXPECT_TRUE(intensities["channels"][0]["trained"].contains("q50"));
  }
  const auto check = [&](const std::string& arguments) {
    const ProgramResult checked = run_lamp("check --json " + arguments);
    EXPECT_EQ(checked.exit_code, 0) << checked.err;
    return parse_json(checked.out, "stdout");
  };
  const std::string model = " -m " + quoted(*folder_ / "run");
  EXPECT_THAT(check(quoted(in) + model)["notes"].dump(), HasSubstr("scaled: values unlike"));
  EXPECT_EQ(check(quoted(*folder_ / "data") + model)["notes"].size(), 0U);
  EXPECT_THAT(check(quoted(*folder_ / "data") + " -c liver")["notes"].dump(),
              HasSubstr("clipped to the upper end of the window [-21, 89]"));
  expect_one_line_error(run_lamp("check " + quoted(in) + model + " -c liver"), 2, "-m and -c");
}

TEST(ProgramTest, HelpDoesNotShowAsOnWhatIsOff) {
  const std::string help = run_lamp("segment --help").out;
  EXPECT_THAT(help, HasSubstr("--tta [AXES]"));
  EXPECT_THAT(help, HasSubstr("--keep-largest [LABELS]"));
  EXPECT_THAT(help, ::testing::Not(HasSubstr("=x,y,z")));
  EXPECT_THAT(help, ::testing::Not(HasSubstr("=all")));
}

// The labels of the sides are twins in name only: the network never saw a mirrored image.
TEST_F(MainJobTest, MirroringIsThatOfTraining) {
  const fs::path out = *folder_ / "mirrored";
  const auto segment = [&](const std::string& tta) {
    const ProgramResult result = run_lamp(
        "segment --patch 24,24,24 -m " + quoted(*folder_ / "run") + " -i " +
        quoted(*folder_ / "data" / "imagesTr" / "ball_0.nii.gz") + " -o " + quoted(out) + tta);
    EXPECT_EQ(result.exit_code, 0) << result.err;
    EXPECT_THAT(result.err, HasSubstr("was trained with mirrored axes none")) << tta;
    const torch::Tensor labels = read_label(out / "ball_0.nii.gz").voxels;
    EXPECT_TRUE(read_json(out / "segment.json")["mirroring"]["axes"].empty());
    return labels;
  };
  EXPECT_TRUE(torch::equal(segment(" --tta"), segment(" --tta x,z")));
  expect_one_line_error(run_lamp("segment --tta x,q -m " + quoted(*folder_ / "run") + " -i " +
                                 quoted(*folder_ / "data" / "imagesTr") + " -o " + quoted(out)),
                        2, "--tta: found \"x,q\"");
}

TEST_F(MainJobTest, OneBrokenImageAmongSeveralExitsWithFourAndTheOthersAreWritten) {
  const fs::path in = *folder_ / "mixed";
  fs::create_directories(in);
  fs::copy(*folder_ / "data" / "imagesTr" / "ball_0.nii.gz", in / "good.nii.gz");
  fs::copy(*folder_ / "data" / "imagesTr" / "ball_1.nii.gz", in / "bad.nii.gz");
  fs::resize_file(in / "bad.nii.gz", fs::file_size(in / "bad.nii.gz") / 2);
  const fs::path out = *folder_ / "mixed-out";
  const ProgramResult result = run_lamp("segment -m " + quoted(*folder_ / "run") + " -i " +
                                        quoted(in) + " -o " + quoted(out));
  EXPECT_EQ(result.exit_code, 4) << result.err;
  EXPECT_THAT(result.err, HasSubstr("bad.nii.gz"));
  EXPECT_TRUE(fs::exists(out / "good.nii.gz"));
  EXPECT_FALSE(fs::exists(out / "bad.nii.gz"));
  const std::string one = "segment -m " + quoted(*folder_ / "run") + " -i " +
                          quoted(in / "bad.nii.gz") + " -o " + quoted(*folder_ / "one-out");
  expect_one_line_error(run_lamp(one), 3, "bad.nii.gz");
}

TEST_F(MainJobTest, AFullDiskDuringACheckpointKeepsThePreviousOne) {
  const fs::path run = *folder_ / "full";
  fs::copy(*folder_ / "run", run, fs::copy_options::recursive);
  const std::string before = text_of(run / "state" / "state.safetensors");
  // A file-size limit below the state's size stands in for the full disk: the write fails in the
  // same place, and the limit's own signal (SIGXFSZ) does not end the run.
  const std::string config = " -c " + quoted(*folder_ / "config.json") +
                             " --set curriculum.1.epochs=14 --resume -d " +
                             quoted(*folder_ / "data");
  const ProgramResult result = run_lamp("train -q -o " + quoted(run) + config, "ulimit -f 20;");
  expect_one_line_error(result, 1, "cannot write");
  EXPECT_EQ(text_of(run / "state" / "state.safetensors"), before);
  for (const auto& entry : fs::recursive_directory_iterator(run))
    EXPECT_EQ(entry.path().filename().string().find(".tmp"), std::string::npos) << entry.path();
  EXPECT_EQ(run_lamp("train -q -o " + quoted(run) + config).exit_code, 0);
}

// What TORCH_CHECK prints, and what stands in the program's strings.
TEST(BuildTest, SourcesAreNamedWithoutTheBuildersFolders) {
  EXPECT_FALSE(std::string(__FILE__).starts_with('/')) << __FILE__;
}

TEST_F(MainJobTest, ALimitOnFilesFromTheStartIsAnErrorThatLeavesNoLock) {
  const std::string train = "train -q -o " + quoted(*folder_ / "limited") + " -c " +
                            quoted(*folder_ / "config.json") + " -d " + quoted(*folder_ / "data");
  expect_one_line_error(run_lamp(train, "ulimit -f 1;"), 1, "cannot write");
  EXPECT_EQ(run_lamp(train + " --resume").exit_code, 0);
}

TEST_F(MainJobTest, AnUnwritableOutputFolderIsARuntimeError) {
  std::ofstream(*folder_ / "file") << "x";
  expect_one_line_error(run_lamp("segment -m " + quoted(*folder_ / "run") + " -i " +
                                 quoted(*folder_ / "data" / "imagesTr" / "ball_0.nii.gz") + " -o " +
                                 quoted(*folder_ / "file" / "out")),
                        1, "file");
}

}  // namespace
}  // namespace lamp::testing
