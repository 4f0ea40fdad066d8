// What is wrong with lists as such, and what a list may write in its own way.
#include "lamp/dataset/dataset_lists.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/types.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "convert/prepare_samples.h"
#include "lamp/base/log.h"
#include "lamp/base/unicode_form.h"
#include "lamp/dataset/check_report.h"
#include "lamp/dataset/dataset_check.h"
#include "support/temporary_folder.h"

namespace lamp {
namespace {
namespace fs = std::filesystem;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class DatasetListsTest : public ::testing::Test {
 protected:
  void SetUp() override { set_log_level(LogLevel::kError); }

  // An image and a label map of its own for every name; numbers make them differ.
  void add_files(const std::string& name, int number, const std::string& ending = ".nii.gz") const {
    const Geometry grid{.size = {5, 4, 3}, .spacing_mm = {1, 1, 2}};
    const torch::Tensor image = (torch::arange(60, torch::kInt16) * 7 + number).view({1, 3, 4, 5});
    torch::Tensor label = torch::zeros({1, 3, 4, 5}, torch::kUInt8);
    label[0][1][1][1 + number % 3] = 1;
    for (const char* part : {"imagesTr", "labelsTr"}) fs::create_directories(folder_ / part);
    write_volume(folder_ / "imagesTr" / (name + ending), {grid, image});
    write_volume(folder_ / "labelsTr" / (name + ending), {grid, label});
  }
  static std::string entry(const std::string& image, const std::string& label,
                           const std::string& more = "") {
    return R"({"image": "imagesTr/)" + image + R"(.nii.gz", "label": "labelsTr/)" + label +
           R"(.nii.gz")" + more + "}";
  }
  void write_list(const std::string& training, const std::string& more = "") const {
    testing::written(
        folder_ / "dataset.json",
        R"({"labels": {"0": "background", "1": "a"}, "training": [)" + training + "]" + more + "}");
  }
  std::vector<std::string> faults() const {
    std::vector<std::string> whats;
    for (const Fault& fault : check_lists(read_dataset(folder_)).faults)
      whats.push_back(fault.what);
    return whats;
  }

  const testing::TemporaryFolder temporary_;
  const fs::path folder_ = temporary_.path();
};

TEST_F(DatasetListsTest, SoundListsHaveNoFaults) {
  for (int i = 0; i < 3; ++i) add_files("c" + std::to_string(i), i);
  write_list(entry("c0", "c0") + "," + entry("c1", "c1"),
             R"(, "numTraining": 2, "validation": [)" + entry("c2", "c2") + "]");
  EXPECT_THAT(faults(), IsEmpty());
  EXPECT_NO_THROW(refuse_faulty_lists(read_dataset(folder_)));
  EXPECT_TRUE(check_dataset(folder_).ok());
}

TEST_F(DatasetListsTest, OneImageOnBothSidesIsALeak) {
  add_files("c0", 0);
  write_list(entry("c0", "c0"), R"(, "test": ["imagesTr/c0.nii.gz"])");
  EXPECT_THAT(faults(), ElementsAre("a leak"));
  write_list(entry("c0", "c0"), R"(, "test": ["./imagesTr/../imagesTr/c0.nii.gz"])");
  EXPECT_THAT(faults(), ElementsAre("a leak"));
  fs::create_hard_link(folder_ / "imagesTr/c0.nii.gz", folder_ / "imagesTr/hard.nii.gz");
  fs::create_symlink("c0.nii.gz", folder_ / "imagesTr/soft.nii.gz");
  for (const char* other : {"hard", "soft"}) {
    write_list(entry("c0", "c0"), R"(, "test": ["imagesTr/)" + std::string(other) + ".nii.gz\"]");
    EXPECT_THAT(faults(), ElementsAre("a leak")) << other;
    EXPECT_THROW(refuse_faulty_lists(read_dataset(folder_)), InputError);
  }
}

TEST_F(DatasetListsTest, FoldsAreSidesToo) {
  add_files("c0", 0);
  add_files("c1", 1);
  fs::create_hard_link(folder_ / "imagesTr/c0.nii.gz", folder_ / "imagesTr/again.nii.gz");
  write_list(entry("c0", "c0", R"(, "fold": 0)") + "," + entry("again", "c1", R"(, "fold": 1)"));
  EXPECT_THAT(faults(), ElementsAre("a leak"));
  write_list(entry("c0", "c0", R"(, "fold": 1)") + "," + entry("again", "c1", R"(, "fold": 1)"));
  EXPECT_THAT(faults(), IsEmpty());
  EXPECT_THAT(check_lists(read_dataset(folder_)).notes, ElementsAre(HasSubstr("one image file")));
}

TEST_F(DatasetListsTest, TestingOnTheValidationCasesIsANote) {
  add_files("c0", 0);
  add_files("c1", 1);
  write_list(entry("c0", "c0"), R"(, "validation": [)" + entry("c1", "c1") + R"(], "test": [)" +
                                    entry("c1", "c1") + "]");
  EXPECT_THAT(faults(), IsEmpty());
  EXPECT_THAT(check_lists(read_dataset(folder_)).notes, ElementsAre(HasSubstr("one image file")));
}

TEST_F(DatasetListsTest, OneLabelForTwoCasesAndAnImageAsLabelAreFaults) {
  add_files("c0", 0);
  add_files("c1", 1);
  write_list(entry("c0", "c0") + "," + entry("c1", "c0"));
  EXPECT_THAT(faults(), ElementsAre("one label file for two cases"));
  write_list(R"({"image": "imagesTr/c0.nii.gz", "label": "imagesTr/c0.nii.gz"})");
  EXPECT_THAT(faults(), ElementsAre("one file as image and as label"));
  write_list(entry("c0", "c0") +
             R"(, {"image": "imagesTr/c1.nii.gz", "label": "imagesTr/c0.nii.gz"})");
  EXPECT_THAT(faults(), ElementsAre("one file as image and as label"));
}

TEST_F(DatasetListsTest, TheSameVoxelsUnderTwoNamesAreFoundInAnyFile) {
  add_files("c0", 0);
  add_files("c1", 1);
  write_volume(folder_ / "imagesTs.nii", read_image(folder_ / "imagesTr/c0.nii.gz"));  // float32
  fs::copy_file(folder_ / "imagesTr/c1.nii.gz", folder_ / "copy.nii.gz");
  for (const char* other : {"imagesTs.nii", "copy.nii.gz"}) {
    write_list(entry("c0", "c0") + "," + entry("c1", "c1"),
               R"(, "test": [")" + std::string(other) + "\"]");
    const CheckReport report = check_dataset(folder_);
    ASSERT_EQ(report.faults.size(), 1U) << other;
    EXPECT_EQ(report.faults[0].what, "a leak");
    EXPECT_THAT(report.faults[0].file, HasSubstr(other));
  }
  // An image that was drawn by two people is no copy that slipped in.
  fs::copy_file(folder_ / "imagesTr/c0.nii.gz", folder_ / "copy.nii.gz",
                fs::copy_options::overwrite_existing);
  fs::copy_file(folder_ / "labelsTr/c0.nii.gz", folder_ / "same.nii.gz");
  for (const char* other : {"same.nii.gz", "labelsTr/c1.nii.gz"}) {
    write_list(entry("c0", "c0"),
               R"(, "test": [{"image": "copy.nii.gz", "label": ")" + std::string(other) + "\"}]");
    EXPECT_EQ(check_dataset(folder_).ok(), other != std::string("same.nii.gz")) << other;
  }
  fs::copy_file(folder_ / "imagesTr/c0.nii.gz", folder_ / "imagesTr/twin.nii.gz");
  fs::copy_file(folder_ / "labelsTr/c0.nii.gz", folder_ / "labelsTr/twin.nii.gz");
  write_list(entry("c0", "c0") + "," + entry("twin", "twin"));
  const CheckReport report = check_dataset(folder_);
  EXPECT_TRUE(report.ok()) << describe(report);
  EXPECT_THAT(report.notes, ::testing::Contains(HasSubstr("the same voxels")));
}

TEST_F(DatasetListsTest, CountsThatAreWrongAreFaults) {
  add_files("c0", 0);
  add_files("c1", 1);
  const std::string two = entry("c0", "c0") + "," + entry("c1", "c1");
  for (const char* wrong : {"1", "3", "0", "-1", "\"3\""}) {
    write_list(two, R"(, "numTraining": )" + std::string(wrong));
    EXPECT_THAT(faults(), ElementsAre("a wrong number of training cases")) << wrong;
  }
  for (const char* right : {"2", "\"2\"", "null"}) {
    write_list(two, R"(, "numTraining": )" + std::string(right));
    EXPECT_THAT(faults(), IsEmpty()) << right;
  }
  write_list(two, R"(, "numTraining": [2])");
  EXPECT_THROW(read_dataset(folder_), InputError);
  write_list(entry("c0", "c0") + ", 7", R"(, "numTraining": 3)");  // one of two entries is damaged
  std::vector<std::string> whats;
  for (const Fault& fault : check_dataset(folder_).faults) whats.push_back(fault.what);
  EXPECT_THAT(whats, ::testing::Contains("a wrong number of training cases"));
}

TEST_F(DatasetListsTest, CountsOfTestCasesAreCheckedLikewise) {
  for (const char* name : {"c0", "c1", "c2"}) add_files(name, name[1]);
  const auto with_test = [&](const std::string& test, const std::string& count) {
    write_list(entry("c0", "c0"), test + R"(, "numTest": )" + count);
  };
  const std::string two = R"(, "test": ["imagesTr/c1.nii.gz", "imagesTr/c2.nii.gz"])";
  for (const char* wrong : {"1", "3", "0", "-1", "\"3\""}) {
    with_test(two, wrong);
    EXPECT_THAT(faults(), ElementsAre("a wrong number of test cases")) << wrong;
    EXPECT_NO_THROW(refuse_faulty_lists(read_dataset(folder_)))
        << wrong;  // training needs no tests
    EXPECT_THAT(check_lists(read_dataset(folder_), /*with_tests=*/false).faults, IsEmpty());
  }
  for (const char* right : {"2", "\"2\"", "null"}) {
    with_test(two, right);
    EXPECT_THAT(faults(), IsEmpty()) << right;
  }
  with_test("", "1");
  EXPECT_THAT(faults(), ElementsAre("a wrong number of test cases"));
  with_test("", "0");
  EXPECT_THAT(faults(), IsEmpty());
  with_test(R"(, "testing": ["imagesTr/c1.nii.gz"])", "1");
  EXPECT_THAT(faults(), IsEmpty());
  with_test(two, "[2]");
  EXPECT_THROW(read_dataset(folder_), InputError);
}

TEST_F(DatasetListsTest, NnunetsFoldersAreCountedToo) {
  for (const char* file : {"imagesTr/a_0000.nii.gz", "labelsTr/a.nii.gz", "imagesTs/t_0000.nii.gz",
                           "imagesTs/u_0000.nii.gz"}) {
    fs::create_directories((folder_ / file).parent_path());
    testing::written(folder_ / file, "");
  }
  for (const char* count : {"1", "2"}) {
    testing::written(folder_ / "dataset.json",
                     R"({"channel_names": {"0": "CT"}, "labels": {"background": 0, "a": 1},
                         "numTraining": 1, "file_ending": ".nii.gz", "numTest": )" +
                         std::string(count) + "}");
    const Dataset dataset = read_dataset(folder_);
    EXPECT_EQ(dataset.test_count.listed, 2);
    EXPECT_EQ(dataset.test_count.declared, *count - '0');
  }
}

TEST_F(DatasetListsTest, NamesThatDifferInCapitalsOnlyAreNoted) {
  for (const char* name : {"Ab", "aB", "b"}) add_files(name, name[0] + name[1]);
  write_list(entry("Ab", "Ab") + "," + entry("aB", "aB") + "," + entry("b", "b"));
  EXPECT_THAT(check_lists(read_dataset(folder_)).notes, ElementsAre(HasSubstr("Ab and aB")));
}

TEST_F(DatasetListsTest, TwentyThousandEntriesAreNoTrouble) {
  std::string entries, annotated;
  for (int i = 0; i < 20000; ++i) {
    const std::string name = "c" + std::to_string(i);
    entries += (i ? "," : "") + entry(name, name, R"(, "annotated": [1])");
  }
  write_list(entries, R"(, "numTraining": 20000)");
  const Dataset dataset = read_dataset(folder_);
  EXPECT_EQ(dataset.training.size(), 20000U);
  EXPECT_TRUE(check_lists(dataset).faults.empty());
}

TEST_F(DatasetListsTest, ReadsTheLayoutOfNnunetVersion1) {
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

TEST_F(DatasetListsTest, ReadsWindowsPaths) {
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

TEST_F(DatasetListsTest, FindsNamesInTheOtherFormOfUnicode) {
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

// The values are those of Unicode's own NormalizationTest.txt, by code point.
TEST(UnicodeNamesTest, TakesLettersApart) {
  EXPECT_EQ(decomposed(kComposed), kDecomposed);
  EXPECT_EQ(decomposed(kDecomposed), kDecomposed);
  EXPECT_EQ(decomposed("\xE1\xBA\xAD"), "a\xCC\xA3\xCC\x82");                     // U+1EAD
  EXPECT_EQ(decomposed("\xC7\x98"), "u\xCC\x88\xCC\x81");                         // U+01D8
  EXPECT_EQ(decomposed("\xEA\xB0\x81"), "\xE1\x84\x80\xE1\x85\xA1\xE1\x86\xA8");  // U+AC01
  EXPECT_EQ(decomposed("\xEA\xB0\x80"), "\xE1\x84\x80\xE1\x85\xA1");              // U+AC00
  EXPECT_EQ(decomposed("\xE3\x81\x8C"), "\xE3\x81\x8B\xE3\x82\x99");              // U+304C
  EXPECT_EQ(decomposed("\xD0\xB9"), "\xD0\xB8\xCC\x86");                          // U+0439
  for (const char* text : {"", "plain.nii.gz", "\xFF\xC3", "\xC3", "\xF0\x9F\x98\x80", "\xE1\x84"})
    EXPECT_EQ(decomposed(text), text);
}

TEST_F(DatasetListsTest, AFileEndingWithoutItsDotIsRead) {
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

TEST_F(DatasetListsTest, ChannelsStandInTheOrderOfTheirNumbers) {
  fs::create_directories(folder_ / "imagesTr");
  testing::written(folder_ / "imagesTr/x_0000.nii.gz", "");
  testing::written(folder_ / "imagesTr/x_0001.nii.gz", "");
  testing::written(folder_ / "dataset.json",
                   R"({"channel_names": {"1": "PET", "0": "CT"}, "file_ending": ".nii.gz",
                       "labels": {"background": 0, "a": 1}})");
  EXPECT_THAT(read_dataset(folder_).channels, ElementsAre("CT", "PET"));
}

TEST_F(DatasetListsTest, SaysWhatAnotherJsonIs) {
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
TEST_F(DatasetListsTest, AListBesideVolumesIsTheDataSetForEveryCommand) {
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

TEST_F(DatasetListsTest, TheListIsFoundInOtherLettersAndAmongOthers) {
  add_files("c0", 0);
  write_list(entry("c0", "c0"));
  fs::rename(folder_ / "dataset.json", folder_ / "Dataset.json");
  testing::written(folder_ / "c0.json", "{}");
  EXPECT_EQ(read_dataset(folder_).file, folder_ / "Dataset.json");
}

TEST_F(DatasetListsTest, KnowsTheFolderOfARun) {
  for (const char* file : {"config.json", "plan.json", "train.log"})
    testing::written(folder_ / file, "{}");
  EXPECT_TRUE(looks_like_dataset(folder_));
  const CheckReport report = check_dataset(folder_);
  ASSERT_EQ(report.faults.size(), 1U);
  EXPECT_THAT(report.faults[0].found, HasSubstr("the folder of a training run"));
}

TEST_F(DatasetListsTest, AByteOrderMarkIsNoFault) {
  add_files("c0", 0);
  write_list(entry("c0", "c0"));
  const std::string text = read_file(folder_ / "dataset.json");
  testing::written(folder_ / "dataset.json", "\xEF\xBB\xBF" + text);
  EXPECT_EQ(read_dataset(folder_).training.size(), 1U);
}

}  // namespace
}  // namespace lamp
