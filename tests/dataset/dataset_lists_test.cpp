// What is wrong with lists as such.
#include "lamp/dataset/dataset_lists.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/types.h>

#include <filesystem>
#include <string>

#include "dataset/list_fixture.h"
#include "lamp/dataset/check_report.h"
#include "lamp/dataset/dataset_check.h"

namespace lamp {
namespace {
namespace fs = std::filesystem;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class DatasetListsTest : public lamp::testing::ListFixture {
 protected:
  std::vector<std::string> faults() const {
    std::vector<std::string> whats;
    for (const Fault& fault : check_lists(read_dataset(folder_)).faults)
      whats.push_back(fault.what);
    return whats;
  }
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

}  // namespace
}  // namespace lamp
