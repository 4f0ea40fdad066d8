// One pass over a folder in which every kind of fault is planted must find them all and accuse
// nothing else.
#include "lamp/dataset/dataset_check.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/types.h>

#include <cerrno>
#include <filesystem>
#include <fstream>
#include <limits>
#include <string>

#include "dataset/dataset_fixture.h"
#include "lamp/base/files.h"
#include "lamp/dataset/check_report.h"
#include "support/fault_of.h"

namespace lamp {
namespace {
namespace fs = std::filesystem;
using ::testing::HasSubstr;

using DatasetCheckTest = testing::DatasetFixture;

TEST_F(DatasetCheckTest, FindsEveryPlantedFaultInOnePass) {
  add("good", image(), label());
  add("no_image", image(), label());
  fs::remove(image_file("no_image"));
  add("no_label", image(), label());
  fs::remove(label_file("no_label"));
  add("cut", image(), label());
  fs::resize_file(image_file("cut"), fs::file_size(image_file("cut")) / 2);
  add("cut_label", image(), label());
  fs::resize_file(label_file("cut_label"), fs::file_size(label_file("cut_label")) / 2);
  Volume moved = label();
  moved.geometry.origin_mm[2] = 0.1;  // 0.05 voxels
  add("moved", image(), moved);
  Volume smaller = label();
  smaller.geometry.size[2] = 5;
  smaller.voxels = smaller.voxels.narrow(1, 0, 5).contiguous();
  add("smaller", image(), smaller);
  Volume unknown = label();
  unknown.voxels[0][0][0][0] = 9;
  add("unknown", image(), unknown);
  Volume empty = label();
  empty.voxels.zero_();
  add("empty", image(), empty);
  Volume nan = image();
  nan.voxels[0][0][0][0] = std::numeric_limits<float>::quiet_NaN();
  nan.voxels[0][0][0][1] = std::numeric_limits<float>::infinity();
  add("nan", nan, label());
  Volume two = image();
  two.voxels = torch::zeros({2, 6, 7, 8});
  add("two", two, label());
  add("not_annotated", image(), label(), R"(, "annotated": [1])");
  add("undeclared", image(), label(), R"(, "annotated": [1, 2, 5])");
  entries_ +=
      R"(, {"image": "imagesTr/good.nii.gz", "label": "labelsTr/good.nii.gz"}, {"imag": "x.nii.gz"})";
  write_json();

  const CheckReport report = check_dataset(folder_);
  EXPECT_FALSE(report.ok());
  EXPECT_EQ(find(report, image_file("no_image"), "missing").found, "nothing");
  EXPECT_EQ(find(report, label_file("no_label"), "missing").found, "nothing");
  EXPECT_NE(find(report, image_file("cut"), "").found, "");
  EXPECT_NE(find(report, label_file("cut_label"), "").found, "");
  EXPECT_THAT(find(report, label_file("moved"), "place").found, HasSubstr("0.050 voxels"));
  EXPECT_THAT(find(report, label_file("smaller"), "size").found, HasSubstr("8x7x5"));
  EXPECT_EQ(find(report, label_file("unknown"), "unknown label values").found, "9 (1 voxels)");
  EXPECT_THAT(report.notes, ::testing::Contains(HasSubstr("empty has no foreground")));
  EXPECT_THAT(find(report, image_file("nan"), "NaN").found, HasSubstr("2 of 336"));
  EXPECT_EQ(find(report, image_file("two"), "channels").found, "2");
  EXPECT_THAT(find(report, label_file("not_annotated"), "not annotated").found,
              HasSubstr("8 voxels of cancer"));
  EXPECT_NE(find(report, "dataset.json", "not declared").found, "");
  EXPECT_NE(find(report, "dataset.json", "twice").found, "");
  EXPECT_NE(find(report, "dataset.json", "without \"image\"").found, "");
  EXPECT_EQ(report.faults.size(), 13U) << describe(report);
  for (const Fault& fault : report.faults)
    EXPECT_TRUE(!fault.file.empty() && !fault.what.empty() && !fault.found.empty() &&
                !fault.fix.empty())
        << fault.what;
}

// What `lamp check` reports is what the reader threw, part by part.
TEST_F(DatasetCheckTest, AFaultHasThePartsOfTheErrorItComesFrom) {
  add("cut", image(), label());
  fs::resize_file(image_file("cut"), fs::file_size(image_file("cut")) / 2);
  add("text", image(), label());
  std::ofstream(label_file("text")) << "hello";
  write_json();
  const Json json = to_json(check_dataset(folder_));
  ASSERT_EQ(json["faults"].size(), 2U);
  const auto part_by_part = [](const Json& shown, const Fault& thrown) {
    EXPECT_EQ(shown, to_json(thrown));
    EXPECT_EQ(shown["what"], thrown.what);
    EXPECT_EQ(shown["found"], thrown.found);
  };
  part_by_part(json["faults"][0],
               testing::fault_of<InputError>([&] { read_image(image_file("cut")); }));
  part_by_part(json["faults"][1],
               testing::fault_of<InputError>([&] { read_label(label_file("text")); }));
  std::ofstream(folder_ / "dataset.json") << "{\"labels\": 1";
  EXPECT_EQ(to_json(check_dataset(folder_))["faults"][0],
            to_json(testing::fault_of<InputError>([&] { read_dataset(folder_); })));
}

TEST_F(DatasetCheckTest, AcceptsASoundDataSetAndCountsItsLabels) {
  add("a", image(), label());
  add("b", image(), label());
  Volume nudged = label();
  nudged.geometry.origin_mm[0] = 0.005;  // half of what is allowed
  add("c", image(), nudged);
  write_json();
  const CheckReport report = check_dataset(folder_);
  EXPECT_TRUE(report.ok()) << describe(report);
  EXPECT_TRUE(report.notes.empty());
  ASSERT_EQ(report.cases.size(), 3U);
  EXPECT_EQ(report.cases[0].name, "a");  // in the order of the file, whichever thread came first
  EXPECT_EQ(report.cases[0].label_voxels.at(1), 8);
  const Json json = to_json(report);
  EXPECT_EQ(json["ok"], true);
  EXPECT_EQ(json["cases"], 3);
  EXPECT_EQ(json["labels"]["2"], "cancer");
  EXPECT_TRUE(json["faults"].empty());
  EXPECT_THAT(describe(report), HasSubstr("cancer: annotated in 3 of 3 label maps, present in 3"));
}

TEST_F(DatasetCheckTest, NotesWhatIsOddButNoFault) {
  Volume no_cancer = label();
  no_cancer.voxels[0][3][3] = 0;
  add("a", image(), no_cancer);
  write_volume(image_file("stray"), image());
  write_volume(folder_ / "imagesTr" / "._a.nii.gz", image());
  write_json();
  const CheckReport report = check_dataset(folder_);
  EXPECT_TRUE(report.ok()) << describe(report);
  EXPECT_THAT(report.notes,
              ::testing::UnorderedElementsAre(HasSubstr("no cancer"), HasSubstr("stray.nii.gz")));
  ASSERT_EQ(report.ignored.size(), 1U);
  EXPECT_EQ(report.ignored[0].file, image_file("stray"));
  EXPECT_THAT(report.ignored[0].reason, HasSubstr("belongs to no case"));
}

TEST_F(DatasetCheckTest, NegativesAreNoFaultButASetOfThemAloneIs) {
  Volume empty = label();
  empty.voxels.zero_();
  add("a", image(), label());
  add("b", image(), empty);
  write_json();
  CheckReport report = check_dataset(folder_);
  EXPECT_TRUE(report.ok()) << describe(report);
  EXPECT_THAT(report.notes, ::testing::ElementsAre("b has no foreground (a negative case)"));
  write_volume(label_file("a"), empty);
  report = check_dataset(folder_);
  ASSERT_EQ(report.faults.size(), 1U);
  EXPECT_EQ(report.faults[0].what, "no foreground");
  EXPECT_EQ(report.faults[0].found, "only background in 2 label maps");
}

TEST_F(DatasetCheckTest, ForegroundOfTestCasesTeachesNothing) {
  Volume empty = label();
  empty.voxels.zero_();
  add("a", image(), empty);
  write_volume(image_file("t"), image());
  write_volume(label_file("t"), label());
  write_json(R"(, "test": [{"image": "imagesTr/t.nii.gz", "label": "labelsTr/t.nii.gz"}])");
  const CheckReport report = check_dataset(folder_);
  ASSERT_EQ(report.faults.size(), 1U) << describe(report);
  EXPECT_EQ(report.faults[0].what, "no foreground");
}

TEST_F(DatasetCheckTest, AFileThatIsNotThereIsCalledSo) {
  const CheckReport report = check_images({folder_ / "NOTHERE"});
  ASSERT_EQ(report.faults.size(), 1U);
  EXPECT_EQ(report.faults[0].what, "a missing file");
  EXPECT_EQ(report.faults[0].fix, "check the path");
}

TEST_F(DatasetCheckTest, ShowsSizesOfRealFilesOrARangeForEachAxis) {
  add("a", image(), label());
  write_json();
  EXPECT_THAT(describe(check_dataset(folder_)), HasSubstr("sizes     8 x 7 x 6 voxels\n"));
  Volume tall = image();
  tall.geometry.size = {4, 5, 9};
  tall.voxels = torch::randn({1, 9, 5, 4});
  Volume tall_label = tall;
  tall_label.voxels = torch::ones({1, 9, 5, 4}, torch::kUInt8);
  add("b", tall, tall_label);
  write_json();
  EXPECT_THAT(describe(check_dataset(folder_)),
              HasSubstr("sizes     x 4 to 8, y 5 to 7, z 6 to 9 voxels; the middle one 8 x 7 x 6"));
}

TEST_F(DatasetCheckTest, CountsInWords) {
  add("a", image(), label());
  write_json();
  EXPECT_THAT(describe(check_dataset(folder_)), HasSubstr("cases     1 training case\n"));
  write_volume(image_file("b"), image());
  EXPECT_THAT(describe(check_images({folder_ / "imagesTr"})), HasSubstr("cases     2 images\n"));
  std::ofstream(folder_ / "dataset.json") << "{";
  EXPECT_THAT(describe(check_dataset(folder_)), HasSubstr("result    1 fault\n"));
}

TEST_F(DatasetCheckTest, SaysWhyAFileCannotBeLookedAt) {
  add("link", image(), label());
  fs::remove(image_file("link"));
  fs::create_symlink("nowhere.nii.gz", image_file("link"));
  add("loop", image(), label());
  fs::remove(image_file("loop"));
  fs::create_symlink("loop.nii.gz", image_file("loop"));
  write_json();
  const CheckReport report = check_dataset(folder_);
  EXPECT_EQ(find(report, image_file("link"), "broken link").found, "a link to nowhere.nii.gz");
  EXPECT_THAT(find(report, image_file("loop"), "cannot read").fix, HasSubstr("the link"));
}

TEST_F(DatasetCheckTest, CasesThatDifferInChannelsAreFoundWhereTheListNamesNone) {
  add("a", image(), label());
  add("b", image(), label());
  Volume two = image();
  two.voxels = torch::randn({2, 6, 7, 8});
  add("c", two, label());
  std::ofstream(folder_ / "dataset.json")
      << R"({"labels": {"0": "background", "1": "a", "2": "b"}, "training": [)" << entries_ << "]}";
  const CheckReport report = check_dataset(folder_);
  ASSERT_EQ(report.faults.size(), 1U);
  EXPECT_EQ(find(report, image_file("c"), "a wrong number of channels").found, "2");
}

TEST_F(DatasetCheckTest, LabelsOfTestCasesAreCheckedToo) {
  add("a", image(), label());
  for (const char* part : {"imagesTs", "labelsTs"}) fs::create_directories(folder_ / part);
  write_volume(folder_ / "imagesTs" / "t.nii.gz", image());
  Volume unknown = label();
  unknown.voxels[0][0][0][0] = 9;
  write_volume(folder_ / "labelsTs" / "t.nii.gz", unknown);
  write_json(R"(, "test": ["imagesTs/t.nii.gz"])");
  const CheckReport report = check_dataset(folder_);
  EXPECT_EQ(find(report, folder_ / "labelsTs" / "t.nii.gz", "unknown").found, "9 (1 voxels)");
  EXPECT_TRUE(check_dataset(folder_, {.with_tests = false}).ok());
}

TEST_F(DatasetCheckTest, FindsAWrongNumberOfTrainingCases) {
  add("a", image(), label());
  write_json(R"(, "numTraining": 4)");
  const CheckReport report = check_dataset(folder_);
  ASSERT_EQ(report.faults.size(), 1U);
  EXPECT_EQ(report.faults[0].found, "1");
}

TEST_F(DatasetCheckTest, ReportsADamagedDatasetJsonAsAFault) {
  std::ofstream(folder_ / "dataset.json") << "{";
  const CheckReport report = check_dataset(folder_);
  ASSERT_EQ(report.faults.size(), 1U);
  EXPECT_THAT(report.faults[0].file, HasSubstr("dataset.json"));
  EXPECT_FALSE(check_dataset(folder_ / "nowhere").ok());
}

TEST_F(DatasetCheckTest, ChecksSingleImagesAndFoldersOfThem) {
  write_volume(image_file("a"), image());
  write_volume(image_file("b"), image());
  std::ofstream(image_file("broken")) << "no image";
  const CheckReport report = check_images({folder_ / "imagesTr", folder_ / "nowhere.nii.gz"});
  EXPECT_EQ(report.cases.size(), 4U);
  EXPECT_EQ(report.faults.size(), 2U) << describe(report);
  EXPECT_TRUE(check_images({image_file("a")}).ok());
  EXPECT_FALSE(looks_like_dataset(folder_ / "labelsTr"));
  EXPECT_TRUE(looks_like_dataset(folder_));
}

TEST_F(DatasetCheckTest, AFolderWithoutImagesNamesTheOneThatHoldsSome) {
  const fs::path patients = folder_ / "patients";
  fs::create_directories(patients / "p1" / "t1");
  fs::create_directories(patients / "p0");
  write_volume(patients / "p1" / "t1" / "scan.nii.gz", image());
  const CheckReport report = check_images({patients});
  EXPECT_EQ(report.cases.size(), 0U);
  ASSERT_EQ(report.faults.size(), 1U);
  EXPECT_EQ(report.faults[0].file, patients.string());
  EXPECT_THAT(report.faults[0].expected, HasSubstr("a data set (dataset.json)"));
  EXPECT_THAT(report.faults[0].expected, HasSubstr("a folder of DICOM slices"));
  EXPECT_THAT(report.faults[0].fix, HasSubstr((patients / "p1" / "t1").string() + "?"));
  fs::create_directories(patients / "p0" / "imagesTr");
  write_volume(patients / "p0" / "imagesTr" / "scan.nii.gz", image());
  EXPECT_THAT(check_images({patients / ""}).faults.at(0).fix,
              HasSubstr("the data set " + (patients / "p0").string() + "?"));
}

}  // namespace
}  // namespace lamp
