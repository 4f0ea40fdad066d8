// Data sets from strangers, as the commands meet them: what leaves the folder is refused by every
// command alike, and read where the user says so.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <string>

#include "convert/prepare_samples.h"
#include "support/run_program.h"

namespace lamp::testing {
namespace {

using ::testing::HasSubstr;
namespace fs = std::filesystem;

class DatasetCommandsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    write_liver_task(folder_ / "liver", 4);
    fs::create_directories(folder_ / "victim");
    fs::rename(folder_ / "liver" / "imagesTr" / "liver_0.nii.gz",
               folder_ / "victim" / "scan.nii.gz");
    fs::remove_all(folder_ / "liver" / "imagesTs");
    before_ = bytes_under(folder_ / "victim");
  }
  void TearDown() override { EXPECT_TRUE(bytes_under(folder_ / "victim") == before_); }

  // liver_0's image is `image`.
  void list(const std::string& image) const {
    Json json = read_json(folder_ / "liver" / "dataset.json");
    json["training"][0]["image"] = image;
    json["test"] = Json::array();
    written(folder_ / "liver" / "dataset.json", json.dump());
  }

  const TemporaryFolder temporary_;
  const fs::path folder_ = temporary_.path();
  std::map<std::string, std::string> before_;
};

TEST_F(DatasetCommandsTest, FilesOutsideAreRefusedByEveryCommandAndReadIfAllowed) {
  const std::string data = quoted(folder_ / "liver");
  for (const std::string& image :
       {std::string("../victim/scan.nii.gz"), (folder_ / "victim" / "scan.nii.gz").string()}) {
    list(image);
    const ProgramResult check = run_lamp("check " + data);
    EXPECT_EQ(check.exit_code, 3);
    EXPECT_THAT(check.err, HasSubstr("--allow-outside"));
    EXPECT_EQ(run_lamp("check --allow-outside " + data).exit_code, 0);
    const std::string out = quoted(folder_ / ("out" + std::to_string(image.size())));
    EXPECT_EQ(run_lamp("prepare --from decathlon " + data + " -o " + out + "1").exit_code, 4);
    EXPECT_EQ(
        run_lamp("prepare --allow-outside --from decathlon " + data + " -o " + out + "2").exit_code,
        0);
    const std::string labels = quoted(folder_ / "liver" / "labelsTr");
    const std::string evaluate = "evaluate -p " + labels + " -r " + labels + " -d " + data +
                                 " -o " + quoted(folder_ / "summary.json");
    EXPECT_EQ(run_lamp(evaluate).exit_code, 3);
    EXPECT_EQ(run_lamp(evaluate + " --allow-outside").exit_code, 0);
    const ProgramResult train =
        run_lamp("train -c demo -d " + data + " -o " + quoted(folder_ / "run"));
    EXPECT_EQ(train.exit_code, 3);
    EXPECT_THAT(train.err, HasSubstr("--allow-outside"));
  }
}

TEST_F(DatasetCommandsTest, CheckCountsInWordsAndNamesWhatIsNoDataSet) {
  list("../victim/scan.nii.gz");
  EXPECT_THAT(run_lamp("check --allow-outside " + quoted(folder_ / "liver")).out,
              HasSubstr("4 training cases"));
  written(folder_ / "splits_final.json", R"([{"train": ["a"], "val": ["b"]}])");
  const ProgramResult splits = run_lamp("check " + quoted(folder_ / "splits_final.json"));
  EXPECT_EQ(splits.exit_code, 3);
  EXPECT_THAT(splits.err, HasSubstr("nnU-Net's folds"));
}

TEST_F(DatasetCommandsTest, SynthNeverReplacesPhantomsOfAnotherSeed) {
  const std::string synth = "synth --kind liver --train 1 --test 0 --size 32,32,32 -o " +
                            quoted(folder_ / "phantoms") + " --seed ";
  ASSERT_EQ(run_lamp(synth + "1").exit_code, 0);
  const auto made = bytes_under(folder_ / "phantoms");
  const ProgramResult other = run_lamp(synth + "2");
  EXPECT_EQ(other.exit_code, 2);
  EXPECT_THAT(other.err, HasSubstr("seed 1"));
  EXPECT_EQ(run_lamp(synth + "1").exit_code, 0);
  EXPECT_TRUE(bytes_under(folder_ / "phantoms") == made);
}

}  // namespace
}  // namespace lamp::testing
