// What a segmentation may write over: its own earlier results, and nothing else.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/types.h>
#include <torch/utils.h>

#include <csignal>
#include <fstream>

#include "lamp/base/errors.h"
#include "lamp/formats/volume_mark.h"
#include "lamp/inference/segment_outputs.h"
#include "lamp/inference/segmenter.h"
#include "lamp/nets/net_factory.h"
#include "lamp/preview/png.h"
#include "support/folder_contents.h"
#include "support/signals.h"
#include "support/temporary_folder.h"

namespace lamp {
namespace {

namespace fs = std::filesystem;
using lamp::testing::contents_of;
using lamp::testing::TemporaryFolder;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

SegmentModel model() {
  SegmentModel model{
      .file = "small.safetensors",
      .model = {.network = make_network({.width = 4, .depth = 1, .in_channels = 1, .classes = 3}),
                .labels = {{0, "background"}, {1, "liver"}, {2, "tumour"}},
                .data = {{"spacing_mm", "keep"}, {"window", nullptr}}}};
  model.model.network.initialise(1);
  model.model.network.chain->eval();
  return model;
}

class SegmenterOutputTest : public ::testing::Test {
 protected:
  std::string image(const std::string& name, int seed = 0) {
    torch::manual_seed(seed);
    Volume volume;
    volume.geometry.size = {20, 17, 11};
    volume.voxels = torch::randn({1, 11, 17, 20});
    fs::create_directories((folder_ / name).parent_path());
    write_volume(folder_ / name, volume);
    return (folder_ / name).string();
  }
  SegmentReport segment(const std::vector<std::string>& inputs, SegmentOptions options = {}) {
    options.patch = parse_patch("24,24,16");
    return segment_all({model()}, {.inputs = inputs, .output = out_, .options = options});
  }
  // The message of the UsageError, after which nothing may have changed.
  std::string refusal(const std::vector<std::string>& inputs, const SegmentOptions& options = {}) {
    const auto before = contents_of(folder_.path());
    std::string message;
    try {
      segment(inputs, options);
    } catch (const UsageError& error) {
      message = error.what();
    }
    EXPECT_EQ(contents_of(folder_.path()), before);
    return message;
  }

  TemporaryFolder folder_;
  fs::path out_ = folder_ / "out";
};

TEST_F(SegmenterOutputTest, TheSameCallAgainGivesTheSameMaps) {
  for (const char* format : {"nii.gz", "nii", "nrrd", "mha"}) {
    const SegmentOptions options{.format = format, .save_probabilities = true};
    const std::vector<std::string> inputs = {image("in/a.nii.gz", 1), image("in/b.nii.gz", 2)};
    segment(inputs, options);
    const auto labels = read_label(out_ / (std::string("a.") + format)).voxels;
    segment(inputs, options);
    EXPECT_TRUE(read_label(out_ / (std::string("a.") + format)).voxels.equal(labels)) << format;
  }
}

TEST_F(SegmenterOutputTest, GroundTruthIsNotReplaced) {
  const std::vector<std::string> inputs = {image("in/a.nii.gz"), image("in/b.nii.gz"),
                                           image("in/c.nii.gz")};
  image("out/b.nii.gz");
  image("out/c.nii.gz");
  EXPECT_THAT(refusal(inputs), AllOf(HasSubstr((out_ / "b.nii.gz").string()), HasSubstr("1 more"),
                                     HasSubstr("choose another")));
}

TEST_F(SegmenterOutputTest, ACorrectedMapIsNotReplaced) {
  for (const char* format : {"nii.gz", "nii", "nrrd", "mha"}) {
    const std::vector<std::string> inputs = {image("in/a.nii.gz")};
    segment(inputs, {.format = format});
    const fs::path map = out_ / (std::string("a.") + format);
    Volume corrected = read_label(map);
    corrected.voxels[0][5][5][5] = 1 - (corrected.voxels[0][5][5][5].item<int>() == 1);
    write_volume(map, corrected);
    EXPECT_THAT(refusal(inputs, {.format = format}), HasSubstr("changed since")) << format;
    fs::remove_all(out_);
  }
}

TEST_F(SegmenterOutputTest, AForeignReportIsNotReplaced) {
  const std::string input = image("in/a.nii.gz");
  fs::create_directory(out_);
  std::ofstream(out_ / "segment.json") << R"({"mine": 1})";
  EXPECT_THAT(refusal({input}), HasSubstr("segment.json"));
}

TEST_F(SegmenterOutputTest, ProbabilitiesAreProtectedToo) {
  const std::string input = image("in/a.nii.gz");
  image("out/a_prob.nii.gz");
  EXPECT_THAT(refusal({input}, {.save_probabilities = true}), HasSubstr("a_prob.nii.gz"));
  EXPECT_NO_THROW(segment({input}));  // which are not in the way of label maps
}

TEST_F(SegmenterOutputTest, APictureLiesBesideEachLabelMapAndGoesWithIt) {
  const std::vector<std::string> inputs = {image("in/a.nii.gz", 1), image("in/b.nii.gz", 2)};
  for (int round = 0; round < 2; ++round) {
    const SegmentReport report = segment(inputs, {.preview = true});
    EXPECT_EQ(report.to_json()["cases"][1]["preview"], (out_ / "b.png").string());
    EXPECT_TRUE(own_png()(out_ / "a.png"));
    EXPECT_TRUE(own_png()(out_ / "b.png"));
  }
  std::ofstream(out_ / "b.png", std::ios::app) << "changed";
  EXPECT_THAT(refusal(inputs, {.preview = true}), HasSubstr("b.png"));
  segment(inputs);
  EXPECT_FALSE(fs::exists(out_ / "a.png"));  // it showed another label map
  EXPECT_TRUE(fs::exists(out_ / "b.png"));
}

TEST_F(SegmenterOutputTest, APictureLiesBesideALabelMapThatIsNamed) {
  const std::string input = image("in/a.nii.gz");
  out_ = folder_ / "map.nii.gz";
  segment({input}, {.preview = true});
  EXPECT_TRUE(own_png()(folder_ / "map.png"));
}

TEST_F(SegmenterOutputTest, APictureOfTheUsersIsNotReplaced) {
  const std::string input = image("in/a.nii.gz");
  fs::create_directory(out_);
  std::ofstream(out_ / "a.png") << "a photo";
  EXPECT_THAT(refusal({input}, {.preview = true}),
              AllOf(HasSubstr("preview: "), HasSubstr("a.png"), HasSubstr("choose another")));
  EXPECT_NO_THROW(segment({input}));
  EXPECT_TRUE(fs::exists(out_ / "a.png"));
}

TEST_F(SegmenterOutputTest, AnInputIsNotReplacedThroughALink) {
  const std::string input = image("in/a.nii.gz");
  fs::create_directory_symlink(folder_ / "in", out_);
  EXPECT_THAT(refusal({input}), HasSubstr("would replace the input"));
  fs::remove(out_);
  fs::create_directory(out_);
  fs::create_hard_link(input, out_ / "a.nii.gz");
  EXPECT_THAT(refusal({input}), HasSubstr("would replace the input"));
}

TEST_F(SegmenterOutputTest, AnInputOfOnesOwnIsNotReplacedEither) {
  segment({image("in/a.nii.gz")});
  EXPECT_THAT(refusal({(out_ / "a.nii.gz").string()}), HasSubstr("would replace the input"));
}

TEST_F(SegmenterOutputTest, LabelMapsDoNotGoAmongTheImages) {
  image("out/a.mha");
  EXPECT_THAT(refusal({out_.string()}), HasSubstr("the folder of the images"));
  EXPECT_THAT(refusal({out_.string() + "/."}), HasSubstr("the folder of the images"));
}

TEST_F(SegmenterOutputTest, AFailedCaseLeavesNoOlderMapInItsPlace) {
  const std::vector<std::string> inputs = {image("in/a.nii.gz", 1), image("in/b.nii.gz", 2)};
  segment(inputs, {.save_probabilities = true});
  fs::resize_file(inputs[1], fs::file_size(inputs[1]) / 2);
  const SegmentReport report = segment(inputs, {.save_probabilities = true});
  EXPECT_TRUE(fs::exists(out_ / "a.nii.gz"));
  EXPECT_FALSE(fs::exists(out_ / "b.nii.gz"));
  EXPECT_FALSE(fs::exists(out_ / "b_prob.nii.gz"));
  ASSERT_EQ(report.failures.size(), 1U);
  EXPECT_TRUE(report.failures[0].removed_older);
  EXPECT_EQ(read_json(out_ / "segment.json")["failed"][0]["removed_older"], true);
}

TEST_F(SegmenterOutputTest, ProbabilitiesOfAnEarlierCallDoNotStayBesideANewMap) {
  const std::vector<std::string> inputs = {image("in/a.nii.gz", 1), image("in/b.nii.gz", 2),
                                           image("in/b_prob.nii.gz", 3)};
  segment({inputs[0], inputs[1]}, {.save_probabilities = true});
  fs::remove(out_ / "b_prob.nii.gz");
  segment({inputs[2]});  // a case of that name
  fs::resize_file(inputs[1], fs::file_size(inputs[1]) / 2);
  segment({inputs[0], inputs[1]});
  EXPECT_TRUE(fs::exists(out_ / "a.nii.gz"));
  EXPECT_FALSE(fs::exists(out_ / "a_prob.nii.gz"));
  EXPECT_FALSE(fs::exists(out_ / "b.nii.gz"));
  EXPECT_TRUE(fs::exists(out_ / "b_prob.nii.gz")) << "the label map of another case";
}

TEST_F(SegmenterOutputTest, ASignalLeavesARecordOfWhatWasNotDone) {
  SegmentRequest request{.inputs = {image("in/a.nii.gz", 1), image("in/b.nii.gz", 2)},
                         .output = out_,
                         .options = {.patch = parse_patch("24,24,16")}};
  int calls = 0;
  request.make_predictor = [&](const Network& network, c10::Device device,
                               c10::ScalarType dtype) -> Predictor {
    return [&calls, plain = make_predictor(network, device, dtype)](const torch::Tensor& x) {
      if (++calls == 2) testing::send_signal(SIGTERM);
      return plain(x);
    };
  };
  EXPECT_THROW(segment_all({model()}, request), Interrupted);
  testing::forget_signals();
  const Json json = read_json(out_ / "segment.json");
  EXPECT_EQ(json["cases"].size(), 1U);
  EXPECT_THAT(json["not_done"].get<std::vector<std::string>>(), ElementsAre(request.inputs[1]));
  for (const auto& entry : fs::directory_iterator(out_))
    EXPECT_EQ(entry.path().string().find(".tmp"), std::string::npos) << entry.path();
  EXPECT_EQ(segment_all({model()}, {.inputs = request.inputs,
                                    .output = out_,
                                    .options = {.patch = parse_patch("24,24,16")}})
                .cases.size(),
            2U);
}

TEST_F(SegmenterOutputTest, FilesSayWhoWroteThem) {
  segment({image("in/a.nii.gz")}, {.save_probabilities = true});
  EXPECT_TRUE(own_volume(kSegmentWriter)(out_ / "a.nii.gz"));
  EXPECT_TRUE(own_volume(kSegmentWriter)(out_ / "a_prob.nii.gz"));
  EXPECT_EQ(read_json(out_ / "segment.json")["written_by"], "lamp segment");
}

}  // namespace
}  // namespace lamp
