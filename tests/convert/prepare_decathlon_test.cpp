// A Decathlon task is split and copied, case by case.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/types.h>

#include <cstring>
#include <filesystem>
#include <set>
#include <string>
#include <vector>

#include "convert/prepare_fixture.h"
#include "convert/prepare_samples.h"
#include "lamp/convert/prepare.h"
#include "lamp/dataset/dataset_check.h"

namespace lamp {
namespace {
namespace fs = std::filesystem;

using ::testing::ElementsAre;
using testing::PrepareTest;
using testing::write_liver_task;

TEST_F(PrepareTest, The131LiverCasesAreSplitAsInThePaper) {
  write_liver_task(folder_ / "liver", 131);
  prepare_dataset(liver());
  const Dataset dataset = read_dataset(folder_ / "out");
  EXPECT_EQ(dataset.training.size(), 104U);
  EXPECT_EQ(dataset.test.size(), 27U);
  std::set<std::string> all;
  for (const auto* list : {&dataset.training, &dataset.test}) {
    for (const Case& entry : *list) {
      all.insert(entry.name);
      ASSERT_FALSE(entry.label.empty()) << entry.name;
      EXPECT_EQ(read_file(entry.images[0]),
                read_file(folder_ / "liver" / "imagesTr" / (entry.name + ".nii.gz")));
      EXPECT_EQ(read_file(entry.label),
                read_file(folder_ / "liver" / "labelsTr" / (entry.name + ".nii.gz")));
    }
  }
  EXPECT_EQ(all.size(), 131U);
  EXPECT_TRUE(check_dataset(folder_ / "out").ok());
  PrepareOptions options = liver("same");
  prepare_dataset(options);
  EXPECT_EQ(names(read_dataset(options.folder).test), names(dataset.test));
  options = liver("other");
  options.seed = 1;
  prepare_dataset(options);
  const Dataset other = read_dataset(options.folder);
  EXPECT_EQ(other.test.size(), 27U);
  EXPECT_NE(names(other.test), names(dataset.test));
}

TEST_F(PrepareTest, OtherNumbersOfLiverCasesKeepTheShare) {
  write_liver_task(folder_ / "liver", 10);
  EXPECT_EQ(to_json(prepare_dataset(liver()))["test"], 2);  // 2.06
  PrepareOptions options = liver("all");
  options.test = 10;
  EXPECT_EQ(to_json(prepare_dataset(options))["training"], 0);
  options = liver("none");
  options.test = 0;
  EXPECT_EQ(to_json(prepare_dataset(options))["training"], 10);
}

TEST_F(PrepareTest, DamagedLiverCasesAreNotCopied) {
  write_liver_task(folder_ / "liver", 6);
  const fs::path images = folder_ / "liver" / "imagesTr", labels = folder_ / "liver" / "labelsTr";
  std::string bytes = read_file(images / "liver_0.nii.gz");
  bytes[bytes.size() / 2] = static_cast<char>(bytes[bytes.size() / 2] ^ 4);
  testing::written(images / "liver_0.nii.gz", bytes);
  const Geometry elsewhere{
      .size = {5, 4, 3}, .spacing_mm = {0.7, 0.7, 5}, .origin_mm = {-10, 5, 4}};
  write_volume(labels / "liver_1.nii.gz", {elsewhere, torch::ones({1, 3, 4, 5}, torch::kUInt8)});
  Volume label = read_label(labels / "liver_2.nii.gz");
  label.voxels.zero_();
  write_volume(labels / "liver_2.nii.gz", label);
  label.voxels.fill_(7);
  write_volume(labels / "liver_3.nii.gz", label);
  fs::remove(labels / "liver_4.nii.gz");
  PrepareOptions options = liver();
  options.test = 0;
  const PrepareReport report = prepare_dataset(options);
  std::vector<std::string> whats;
  for (const Fault& fault : report.faults) whats.push_back(fault.what);
  EXPECT_THAT(whats, ElementsAre("cannot read", "another grid than its image",
                                 "unknown label values", "cannot read"));
  // liver_2 is a negative case, which many data sets hold.
  EXPECT_THAT(names(read_dataset(folder_ / "out").training), ElementsAre("liver_2", "liver_5"));
  EXPECT_TRUE(check_dataset(folder_ / "out").ok());
}

TEST_F(PrepareTest, AFolderInAnImagesPlaceIsAFaultOfItsCase) {
  for (const char* image : {".", "./", "imagesTr/", "imagesTr/.."}) {
    write_liver_task(folder_ / "liver", 3);
    Json list = read_json(folder_ / "liver" / "dataset.json");
    list["training"][0]["image"] = image;
    testing::written(folder_ / "liver" / "dataset.json", list.dump());
    PrepareOptions options = liver(std::string("out") + std::to_string(std::strlen(image)));
    options.test = 0;
    try {
      EXPECT_EQ(prepare_dataset(options).faults.size(), 1U) << image;
    } catch (const InputError& refused) {  // as good: a line that names the file
      EXPECT_THAT(refused.what(), ::testing::HasSubstr("liver")) << image;
    }
    fs::remove_all(folder_ / "liver");
  }
}

TEST_F(PrepareTest, OtherDialectsAreLeftToTheOtherCommands) {
  fs::create_directories(folder_ / "liver");
  testing::written(folder_ / "liver" / "dataset.json",
                   R"({"labels": {"0": "background", "1": "liver"},
                       "training": [{"image": "a.nii.gz", "label": "b.nii.gz", "fold": 1}]})");
  testing::expect_refused([&] { prepare_dataset(liver()); }, "another dialect");
}

}  // namespace
}  // namespace lamp
