// What a list may write in its own way, and what it is known by.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <string>

#include "dataset/list_fixture.h"
#include "lamp/base/errors.h"
#include "lamp/base/files.h"
#include "lamp/dataset/check_report.h"
#include "lamp/dataset/datalist.h"
#include "lamp/dataset/dataset_check.h"

namespace lamp {
namespace {
namespace fs = std::filesystem;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

using ListFormsTest = lamp::testing::ListFixture;

TEST_F(ListFormsTest, ReadsTheLayoutOfNnunetVersion1) {
  for (const char* name : {"a_0000", "a_0001", "b_0000", "b_0001"}) add_files(name, name[0]);
  for (const char* name : {"a", "b"}) {
    add_files(name, 1);
    fs::remove(folder_ / "imagesTr" / (std::string(name) + ".nii.gz"));
  }
  const std::string two = entry("a", "a") + "," + entry("b", "b");
  const auto with = [&](const std::string& modality) {
    write_list(two, R"(, "numTraining": 2, "modality": )" + modality);
  };
  with(R"({"0": "T1", "1": "T2"})");
  const Dataset dataset = read_dataset(folder_);
  ASSERT_EQ(dataset.training.size(), 2U);
  EXPECT_EQ(dataset.training[0].name, "a");
  EXPECT_THAT(dataset.training[0].images,
              ElementsAre(folder_ / "imagesTr/a_0000.nii.gz", folder_ / "imagesTr/a_0001.nii.gz"));
  EXPECT_THAT(dataset.notes, ElementsAre(HasSubstr("nnU-Net v1")));
  with(R"({"0": "T1"})");
  try {
    read_dataset(folder_);
    FAIL();
  } catch (const InputError& error) {
    EXPECT_THAT(error.what(), HasSubstr("nnU-Net v1"));
    EXPECT_THAT(error.what(), HasSubstr("2 files such as a_0000.nii.gz"));
  }
}

TEST_F(ListFormsTest, ReadsWindowsPaths) {
  add_files("c0", 0);
  write_list(R"({"image": "imagesTr\\c0.nii.gz", "label": ".\\labelsTr\\c0.nii.gz"})");
  const Dataset dataset = read_dataset(folder_);
  EXPECT_EQ(dataset.training[0].images[0], folder_ / "imagesTr/c0.nii.gz");
  EXPECT_EQ(dataset.training[0].label, folder_ / "labelsTr/c0.nii.gz");
  EXPECT_EQ(dataset.training[0].name, "c0");
  EXPECT_THAT(dataset.notes, ElementsAre(HasSubstr("2 paths with backslashes")));
}

constexpr const char* kComposed = "M\xC3\xBCller";     // U+00FC
constexpr const char* kDecomposed = "Mu\xCC\x88ller";  // u, U+0308

TEST_F(ListFormsTest, FindsNamesInTheOtherFormOfUnicode) {
  for (const bool composed_on_disk : {true, false}) {
    const std::string disk = composed_on_disk ? kComposed : kDecomposed;
    const std::string list = composed_on_disk ? kDecomposed : kComposed;
    fs::remove_all(folder_ / "imagesTr");
    fs::remove_all(folder_ / "labelsTr");
    add_files(disk, 0);
    write_list(entry(list, list));
    EXPECT_TRUE(check_dataset(folder_).ok()) << describe(check_dataset(folder_));
    EXPECT_THAT(read_dataset(folder_).notes, ElementsAre(HasSubstr("Unicode")));
  }
  // nnU-Net finds its labels by the names of the images.
  fs::rename(folder_ / "imagesTr" / (std::string(kDecomposed) + ".nii.gz"),
             folder_ / "imagesTr" / (std::string(kComposed) + "_0000.nii.gz"));
  testing::written(folder_ / "dataset.json",
                   R"({"channel_names": {"0": "CT"}, "labels": {"background": 0, "a": 1},
                       "numTraining": 1, "file_ending": ".nii.gz"})");
  EXPECT_TRUE(check_dataset(folder_).ok()) << describe(check_dataset(folder_));
}

TEST_F(ListFormsTest, AFileEndingWithoutItsDotIsRead) {
  add_files("x_0000", 0);
  fs::rename(folder_ / "labelsTr/x_0000.nii.gz", folder_ / "labelsTr/x.nii.gz");
  const auto with = [&](const std::string& ending) {
    testing::written(folder_ / "dataset.json",
                     R"({"channel_names": {"0": "CT"}, "labels": {"background": 0, "a": 1},
                         "file_ending": )" +
                         ending + "}");
  };
  with("\"nii.gz\"");
  const Dataset dataset = read_dataset(folder_);
  ASSERT_EQ(dataset.training.size(), 1U);
  EXPECT_EQ(dataset.training[0].label, folder_ / "labelsTr/x.nii.gz");
  for (const char* bad : {"\".png\"", "\"\"", "7", "\".\"", "\"/../x.nii.gz\""}) {
    with(bad);
    EXPECT_THROW(read_dataset(folder_), InputError) << bad;
  }
}

TEST_F(ListFormsTest, ChannelsStandInTheOrderOfTheirNumbers) {
  fs::create_directories(folder_ / "imagesTr");
  testing::written(folder_ / "imagesTr/x_0000.nii.gz", "");
  testing::written(folder_ / "imagesTr/x_0001.nii.gz", "");
  testing::written(folder_ / "dataset.json",
                   R"({"channel_names": {"1": "PET", "0": "CT"}, "file_ending": ".nii.gz",
                       "labels": {"background": 0, "a": 1}})");
  EXPECT_THAT(read_dataset(folder_).channels, ElementsAre("CT", "PET"));
}

TEST_F(ListFormsTest, SaysWhatAnotherJsonIs) {
  const auto told = [&](const std::string& text) {
    testing::written(folder_ / "other.json", text);
    try {
      read_dataset(folder_ / "other.json");
    } catch (const InputError& error) {
      return std::string(error.what());
    }
    return std::string("accepted");
  };
  EXPECT_THAT(told(R"([{"train": ["a"], "val": ["b"]}])"), HasSubstr("splits_final.json"));
  EXPECT_THAT(told(R"({"net": {}, "curriculum": []})"), HasSubstr("lamp train config"));
  EXPECT_THAT(told(R"({"metric_per_case": [], "mean": {}})"), HasSubstr("scores"));
  EXPECT_THAT(told(R"({"dataset_name": "x", "plans_name": "nnUNetPlans"})"), HasSubstr("plans"));
  EXPECT_THAT(told(std::string("\xFF\xFE{\0}\0", 6)), HasSubstr("UTF-16"));
  add_files("c0", 0);
  write_list(entry("c0", "c0"));
  fs::rename(folder_ / "dataset.json", folder_ / "mine.json");
  fs::remove(folder_ / "other.json");
  testing::written(folder_ / "splits_final.json", "[]");
  testing::written(folder_ / "dataset_fingerprint.json", "{}");
  EXPECT_EQ(read_dataset(folder_).training.size(), 1U);  // they are no lists
}

// What train takes as the list, a check takes too, also beside volumes.
TEST_F(ListFormsTest, AListBesideVolumesIsTheDataSetForEveryCommand) {
  add_files("c0", 0);
  write_list(entry("c0", "c0"));
  const auto takes_as_list = [&](const char* name, const std::string& text) {
    const fs::path place = folder_ / "place";
    fs::remove_all(place);
    fs::create_directories(place);
    testing::written(place / "a.nii.gz", "x");
    testing::written(place / name, text);
    return looks_like_dataset(place);
  };
  const std::string list = read_file(folder_ / "dataset.json");
  EXPECT_TRUE(takes_as_list("Dataset.json", list));
  EXPECT_TRUE(takes_as_list("Dataset.json", "{"));  // whose fault is told
  EXPECT_TRUE(takes_as_list("mine.json", list));
  EXPECT_FALSE(takes_as_list("a.json", R"({"Modality": "MR"})"));  // dcm2niix's, of the image
  EXPECT_FALSE(takes_as_list("summary.json", R"({"metric_per_case": [], "mean": {}})"));
}

TEST_F(ListFormsTest, TheListIsFoundInOtherLettersAndAmongOthers) {
  add_files("c0", 0);
  write_list(entry("c0", "c0"));
  fs::rename(folder_ / "dataset.json", folder_ / "Dataset.json");
  testing::written(folder_ / "c0.json", "{}");
  EXPECT_EQ(read_dataset(folder_).file, folder_ / "Dataset.json");
}

TEST_F(ListFormsTest, KnowsTheFolderOfARun) {
  for (const char* file : {"config.json", "plan.json", "train.log"})
    testing::written(folder_ / file, "{}");
  EXPECT_TRUE(looks_like_dataset(folder_));
  const CheckReport report = check_dataset(folder_);
  ASSERT_EQ(report.faults.size(), 1U);
  EXPECT_THAT(report.faults[0].found, HasSubstr("the folder of a training run"));
}

TEST_F(ListFormsTest, AByteOrderMarkIsNoFault) {
  add_files("c0", 0);
  write_list(entry("c0", "c0"));
  const std::string text = read_file(folder_ / "dataset.json");
  testing::written(folder_ / "dataset.json", "\xEF\xBB\xBF" + text);
  EXPECT_EQ(read_dataset(folder_).training.size(), 1U);
}

}  // namespace
}  // namespace lamp
