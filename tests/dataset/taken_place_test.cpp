// What is a run's or a data set's own is nobody else's place; what lies beside it is free.
#include "lamp/dataset/taken_place.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "lamp/base/errors.h"
#include "support/temporary_folder.h"

namespace lamp {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
namespace fs = std::filesystem;

class TakenPlaceTest : public ::testing::Test {
 protected:
  void write(const fs::path& file, const std::string& text) {
    fs::create_directories((folder_ / file).parent_path());
    std::ofstream(folder_ / file) << text;
  }
  std::string refusal(const fs::path& place) {
    try {
      refuse_taken_place(folder_ / place, "segment -o");
    } catch (const UsageError& error) {
      return error.what();
    }
    return "";
  }

  testing::TemporaryFolder folder_;
};

TEST_F(TakenPlaceTest, ARunAndItsState) {
  write("run/run.json", R"({"format": "lamp-run", "version": 1})");
  write("old/config.json", "{}");
  write("old/state/state.safetensors", "x");
  fs::create_directory_symlink(folder_ / "run", folder_ / "link");
  for (const char* place : {"run", "run/", "run/state", "run/state/new/deep", "old", "old/state",
                            "link", "link/state", "run/predictions/.."})
    EXPECT_THAT(refusal(place), AllOf(HasSubstr("segment -o: "), HasSubstr("a run"))) << place;
  for (const char* place : {"run/predictions", "run/states", "run/predictions/state", "", "new"})
    EXPECT_EQ(refusal(place), "") << place;
}

TEST_F(TakenPlaceTest, ADataSetAndTheFoldersOfItsCases) {
  write("data/dataset.json", R"({"numTraining": 1})");
  for (const char* name : kCaseFolders) fs::create_directories(folder_ / "data" / name);
  write("list/dataset.json", R"({"training": [{"image": "a.nii", "label": "b.nii"}]})");
  for (const char* place : {"data", "data/imagesTr", "data/labelsTr", "data/imagesTs",
                            "data/labelsTs/new", "data/imagesVal", "list"})
    EXPECT_THAT(refusal(place), HasSubstr("a data set")) << place;
  const auto refuse_file_in = [&](const fs::path& place) {
    refuse_taken_place(folder_ / place, "evaluate -o", ResultsAre::kSingleFile);
  };
  EXPECT_NO_THROW(refuse_file_in("data"));
  EXPECT_NO_THROW(refuse_file_in("list"));
  EXPECT_THROW(refuse_file_in("data/labelsTr"), UsageError);
  for (const char* place :
       {"data/predictions", "data/predictions/labelsTs", "data/labels", "list/results"})
    EXPECT_EQ(refusal(place), "") << place;
}

// nnU-Net's predictions come with a copy of dataset.json.
TEST_F(TakenPlaceTest, FoldersThatOnlyLookLikeThem) {
  write("predicted/dataset.json", R"({"channel_names": {"0": "CT"}, "numTraining": 3})");
  write("mine/run.json", R"({"format": "another"})");
  fs::create_directories(folder_ / "images" / "imagesTs");  // no list beside them
  for (const char* place : {"predicted", "mine", "mine/state", "images/imagesTs"})
    EXPECT_EQ(refusal(place), "") << place;
}

}  // namespace
}  // namespace lamp
