// Real layouts become data sets that train: voxel by voxel what they were, whatever interrupts, and
// nothing that is wrong passes unseen.
#include "lamp/convert/prepare.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/types.h>

#include <filesystem>
#include <limits>
#include <map>
#include <string>
#include <vector>

#include "convert/prepare_fixture.h"
#include "convert/prepare_samples.h"
#include "lamp/base/size3.h"
#include "lamp/convert/prepare_report.h"
#include "lamp/dataset/case_volumes.h"
#include "lamp/dataset/check_report.h"
#include "lamp/dataset/dataset_check.h"

namespace lamp {
namespace {
namespace fs = std::filesystem;

using testing::bytes_under;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::head_image;
using testing::organ_mask;
using testing::PrepareTest;
using testing::write_han_case;
using testing::write_npy;

TEST_F(PrepareTest, HanCasesKeepEveryVoxelAndLabel) {
  write_han_case(folder_ / "han" / "0522c0001", {1, 3, 9}, 1);
  write_han_case(folder_ / "han" / "0522c0555", {1, 2, 3, 4, 5, 6, 7, 8, 9}, 2);
  const PrepareReport report = prepare_dataset(han());
  EXPECT_TRUE(report.faults.empty());
  EXPECT_EQ(report.converted, 2U);
  const Dataset dataset = read_dataset(folder_ / "out");
  ASSERT_THAT(names(dataset.training), ElementsAre("0522c0001"));
  ASSERT_THAT(names(dataset.test), ElementsAre("0522c0555"));  // of the challenge's test cases
  EXPECT_EQ(dataset.labels.size(), 10U);
  EXPECT_EQ(dataset.labels.at(1), "BrainStem");
  EXPECT_EQ(dataset.labels.at(9), "Submandibular_R");
  EXPECT_THAT(*dataset.training[0].annotated, ElementsAre(1, 3, 9));
  EXPECT_FALSE(dataset.test[0].annotated.has_value());

  const Volume image = read_case_image(dataset.test[0]);
  EXPECT_TRUE(torch::equal(image.voxels[0], head_image(2).to(torch::kFloat32)));
  EXPECT_EQ(image.geometry.size, (Size3{11, 10, 9}));
  EXPECT_NEAR(image.geometry.spacing_mm[1], 0.97, 1e-6);
  EXPECT_NEAR(image.geometry.spacing_mm[2], 2.5, 1e-6);
  torch::Tensor expected = torch::zeros({9, 10, 11}, torch::kUInt8);
  for (int id = 1; id <= 9; ++id) expected += organ_mask(id) * id;
  EXPECT_TRUE(torch::equal(read_case_label(dataset.test[0], dataset).voxels[0], expected));
  torch::Tensor partly = organ_mask(1) + organ_mask(3) * 3 + organ_mask(9) * 9;
  EXPECT_TRUE(torch::equal(read_case_label(dataset.training[0], dataset).voxels[0], partly));
  EXPECT_TRUE(check_dataset(folder_ / "out").ok()) << describe(check_dataset(folder_ / "out"));
}

TEST_F(PrepareTest, ImagesOfEveryNumberTypeReadBackTheSame) {
  const torch::Tensor whole = torch::arange(990).view({9, 10, 11}) * 91 - 30000;
  const std::vector<torch::Tensor> images = {
      (whole % 256).abs().to(torch::kUInt8), (whole % 32768).to(torch::kInt16),
      whole.to(torch::kFloat32) / 7, whole.to(torch::kFloat64) / 3,
      whole.to(torch::kFloat64) * 400};
  for (std::size_t i = 0; i < images.size(); ++i) {
    const fs::path folder = folder_ / "han" / ("case" + std::to_string(i));
    write_han_case(folder);
    write_npy(folder / "img_crp_v2.npy", images[i]);
  }
  prepare_dataset(han());
  const Dataset dataset = read_dataset(folder_ / "out");
  ASSERT_EQ(dataset.training.size(), images.size());
  for (std::size_t i = 0; i < images.size(); ++i)
    EXPECT_TRUE(
        torch::equal(read_case_image(dataset.training[i]).voxels[0], images[i].to(torch::kFloat32)))
        << i;
}

TEST_F(PrepareTest, CasesInSubfoldersAndAFolderNamedTestAreFound) {
  write_han_case(folder_ / "han" / "part1" / "a");
  write_han_case(folder_ / "han" / "part2" / "deeper" / "b");
  write_han_case(folder_ / "han" / "Test" / "c");
  prepare_dataset(han());
  const Dataset dataset = read_dataset(folder_ / "out");
  EXPECT_THAT(names(dataset.training), ElementsAre("a", "b"));
  EXPECT_THAT(names(dataset.test), ElementsAre("c"));
  write_han_case(folder_ / "han" / "part1" / "c");
  EXPECT_THROW(prepare_dataset(han("other")), InputError);  // one patient in both splits
}

TEST_F(PrepareTest, DrawnTestCasesAreFullyAnnotated) {
  for (int i = 0; i < 12; ++i)
    write_han_case(folder_ / "han" / ("case" + std::to_string(10 + i)),
                   i % 3 == 0 ? std::vector{1, 2, 3, 4, 5, 6, 7, 8, 9} : std::vector{1, 2}, i);
  // Looks complete, but one mask is empty.
  write_npy(folder_ / "han" / "case10" / "structures" / "Chiasm_crp_v2.npy",
            torch::zeros({9, 10, 11}, torch::kUInt8));
  for (const std::uint64_t seed : {0, 1, 2}) {
    PrepareOptions options = han("out" + std::to_string(seed));
    options.test = 3;
    options.seed = seed;
    prepare_dataset(options);
    const Dataset dataset = read_dataset(options.folder);
    EXPECT_THAT(names(dataset.test), ElementsAre("case13", "case16", "case19"));
    for (const Case& entry : dataset.test) EXPECT_FALSE(entry.annotated.has_value());
    EXPECT_THAT(*dataset.training[0].annotated, ElementsAre(1, 3, 4, 5, 6, 7, 8, 9));
  }
  PrepareOptions options = han("too-many");
  options.test = 4;
  expect_usage_error(options, "found 4, expected at most 3");
  EXPECT_FALSE(fs::exists(options.folder));
}

TEST_F(PrepareTest, NamedTestCasesAreTakenAsNamed) {
  for (const char* name : {"a", "b", "c"}) write_han_case(folder_ / "han" / name);
  write_han_case(folder_ / "han" / "d", {1, 2});
  PrepareOptions options = han();
  options.test_cases = {"d", "b"};
  const PrepareReport report = prepare_dataset(options);
  const Dataset dataset = read_dataset(options.folder);
  EXPECT_THAT(names(dataset.test), ElementsAre("b", "d"));
  EXPECT_THAT(*dataset.test[1].annotated, ElementsAre(1, 2));
  EXPECT_FALSE(dataset.test[1].label.empty());
  EXPECT_THAT(to_json(report)["notes"].dump(), HasSubstr("2 of 9 structures"));
  options.folder = folder_ / "other";
  options.test_cases = {"bb"};
  expect_usage_error(options, "known: a, b, c, d");
}

TEST_F(PrepareTest, TheSmallerOfTwoOverlappingStructuresKeepsTheVoxels) {
  write_han_case(folder_ / "han" / "a");
  const fs::path masks = folder_ / "han" / "a" / "structures";
  torch::Tensor chiasm = torch::zeros({9, 10, 11}, torch::kUInt8);
  chiasm.select(0, 5).slice(0, 2, 3).slice(1, 5, 9) = 1;  // 4 voxels, 3 of them Parotid_L's
  write_npy(masks / "Chiasm_crp_v2.npy", chiasm);
  const PrepareReport report = prepare_dataset(han());
  ASSERT_EQ(report.cases.size(), 1U);
  EXPECT_THAT(report.cases[0].overlaps, ElementsAre(Overlap{.kept = 2, .lost = 6, .voxels = 3}));
  const Dataset dataset = read_dataset(folder_ / "out");
  const torch::Tensor label = read_case_label(dataset.training[0], dataset).voxels[0];
  EXPECT_EQ((label == 2).sum().item<int>(), 4);
  EXPECT_EQ((label == 6).sum().item<int>(), 14 - 3);
  const Json json = to_json(prepare_dataset(han()));  // a second call still says so
  EXPECT_EQ(json["overlaps"][0]["kept"], "Chiasm");
  EXPECT_EQ(json["overlaps"][0]["voxels"], 3);
  EXPECT_EQ(json["converted"], 0);
}

TEST_F(PrepareTest, AFaultyCaseIsNamedAndTheOthersAreWritten) {
  for (const char* name : {"a", "b", "c", "d", "e", "f", "g", "good"})
    write_han_case(folder_ / "han" / name);
  const auto mask = [&](const char* name, const char* organ) {
    return folder_ / "han" / name / "structures" / (std::string(organ) + "_crp_v2.npy");
  };
  fs::remove(folder_ / "han" / "a" / "img_crp_v2.npy");
  fs::resize_file(mask("b", "Mandible"), 200);
  write_npy(mask("c", "Parotid_R"), torch::ones({9, 10, 12}, torch::kUInt8));
  write_npy(mask("d", "Chiasm"), organ_mask(1) + organ_mask(2) * 2);
  torch::Tensor image = head_image(0).to(torch::kFloat32);
  image[1][2][3] = std::numeric_limits<float>::quiet_NaN();
  write_npy(folder_ / "han" / "e" / "img_crp_v2.npy", image);
  fs::rename(mask("f", "BrainStem"), mask("f", "Brainstem"));
  for (const std::string& organ : testing::organs()) fs::remove(mask("g", organ.c_str()));

  const PrepareReport report = prepare_dataset(han());
  std::map<std::string, std::string> whats;
  for (const Fault& fault : report.faults) whats[fault.file] += fault.what + ": " + fault.found;
  EXPECT_EQ(whats.size(), 7U);
  EXPECT_THAT(whats[folder_ / "han" / "a" / "img_crp_v2.npy"], HasSubstr("cannot read"));
  EXPECT_THAT(whats[mask("b", "Mandible")], HasSubstr("bytes of values, which are cut short"));
  EXPECT_THAT(whats[mask("c", "Parotid_R")], HasSubstr("another grid than its image"));
  EXPECT_THAT(whats[mask("d", "Chiasm")], HasSubstr("no mask: the values 1 ("));
  EXPECT_THAT(whats[folder_ / "han" / "e" / "img_crp_v2.npy"], HasSubstr("NaN"));
  EXPECT_THAT(whats[mask("f", "Brainstem")], HasSubstr("a misnamed structure"));
  EXPECT_THAT(whats[folder_ / "han" / "g" / "structures"], HasSubstr("no structures"));
  EXPECT_THAT(names(read_dataset(folder_ / "out").training), ElementsAre("good"));
  EXPECT_TRUE(check_dataset(folder_ / "out").ok());
  EXPECT_EQ(bytes_under(folder_ / "out").size(), 3U);
  try {
    throw_if_failed(report);
    ADD_FAILURE();
  } catch (const Error& error) {
    EXPECT_EQ(error.exit_code(), kExitSomeCasesFailed);
    EXPECT_THAT(error.what(), HasSubstr("7 faults, 1 of 8 cases"));
  }

  write_han_case(folder_ / "han" / "b");  // mended: only this one is converted now
  const PrepareReport mended = prepare_dataset(han());
  EXPECT_EQ(mended.converted, 1U);
  EXPECT_EQ(mended.faults.size(), 6U);
  EXPECT_THAT(names(read_dataset(folder_ / "out").training), ElementsAre("b", "good"));
}

TEST_F(PrepareTest, WithNothingButFaultsThereIsNoDataSet) {
  write_han_case(folder_ / "han" / "a");
  write_npy(folder_ / "han" / "a" / "img_crp_v2.npy", torch::zeros({9, 10}, torch::kInt16));
  const PrepareReport report = prepare_dataset(han());
  EXPECT_FALSE(fs::exists(folder_ / "out" / "dataset.json"));
  try {
    throw_if_failed(report);
    ADD_FAILURE();
  } catch (const Error& error) {
    EXPECT_EQ(error.exit_code(), kExitInput);
    EXPECT_THAT(error.what(), HasSubstr("expected three: z, y, x"));
  }
}

TEST_F(PrepareTest, ASourceOfAnotherLayoutIsNamedAsSuch) {
  fs::create_directories(folder_ / "han" / "a" / "structures");
  testing::written(folder_ / "han" / "a" / "img.nrrd", "x");
  testing::expect_refused([&] { prepare_dataset(han()); }, "which from=pddca reads");
  fs::remove_all(folder_ / "han");
  testing::expect_refused([&] { prepare_dataset(han()); }, "found nothing");
  fs::create_directories(folder_ / "han");
  testing::expect_refused([&] { prepare_dataset(han()); }, "found no folder with img_crp_v2.npy");
  EXPECT_FALSE(fs::exists(folder_ / "out"));
}

TEST_F(PrepareTest, ImagesScaledToOneAreReported) {
  write_han_case(folder_ / "han" / "a");
  write_han_case(folder_ / "han" / "b");
  write_npy(folder_ / "han" / "b" / "img_crp_v2.npy",
            (head_image(0).to(torch::kFloat64) + 1000) / 2000);
  EXPECT_EQ(to_json(prepare_dataset(han()))["scaled"], 1);
}

}  // namespace
}  // namespace lamp
