#include "lamp/training/case_split.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <functional>

#include "lamp/base/errors.h"
#include "lamp/base/log.h"
#include "lamp/training/nnunet_folds.h"
#include "support/temporary_folder.h"

namespace lamp {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
namespace fs = std::filesystem;

std::string message_of(const std::function<void()>& work) {
  try {
    work();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

TEST(CaseSplitTest, TheSplitKeepsEveryCaseOnceAndFollowsTheSeed) {
  const std::vector<Case> cases(20);
  const CaseSplit split = split_cases(cases, {.fraction = 0.25}, 1);
  EXPECT_EQ(split.validation.size(), 5U);
  std::vector<std::size_t> all = split.training;
  all.insert(all.end(), split.validation.begin(), split.validation.end());
  std::sort(all.begin(), all.end());
  for (std::size_t i = 0; i < 20; ++i) EXPECT_EQ(all[i], i);
  EXPECT_EQ(split_cases(cases, {.fraction = 0.25}, 1).validation, split.validation);
  EXPECT_NE(split_cases(cases, {.fraction = 0.25}, 2).validation, split.validation);
}

TEST(CaseSplitTest, SmallDataSetsKeepACaseToTrainOn) {
  EXPECT_TRUE(split_cases(std::vector<Case>(1), {.fraction = 0.1}, 0).validation.empty());
  EXPECT_EQ(split_cases(std::vector<Case>(2), {.fraction = 0.1}, 0).validation.size(), 1U);
  EXPECT_TRUE(split_cases(std::vector<Case>(9), {.fraction = 0}, 0).validation.empty());
}

TEST(CaseSplitTest, TheDataSetsOwnValidationCasesAreUsed) {
  Dataset dataset;
  dataset.training.resize(3);
  dataset.validation.resize(2);
  dataset.validation[1].name = "last";
  const CaseSplit split = split_dataset(dataset, {.fraction = 0.5}, 0);
  EXPECT_EQ(split.training, (std::vector<std::size_t>{0, 1, 2}));
  EXPECT_EQ(split.validation, (std::vector<std::size_t>{3, 4}));
  EXPECT_EQ(dataset.training[4].name, "last");
}

TEST(CaseSplitTest, AFoldOfTheDataSetIsHeldOutWhole) {
  std::vector<Case> cases(6);
  for (std::size_t i = 0; i < 6; ++i) cases[i].fold = static_cast<int>(i % 3);
  EXPECT_EQ(split_cases(cases, {.fold = 1}, 0).validation, (std::vector<std::size_t>{1, 4}));
  EXPECT_THAT(message_of([&] { split_cases(cases, {.fold = 7}, 0); }),
              AllOf(HasSubstr("found 7"), HasSubstr("0, 1, 2")));
  for (Case& entry : cases) entry.fold = 2;
  EXPECT_THAT(message_of([&] { split_cases(cases, {.fold = 2}, 0); }),
              HasSubstr("none is left to train on"));
  for (Case& entry : cases) entry.fold.reset();
  EXPECT_THAT(message_of([&] { split_cases(cases, {.fold = 0}, 0); }),
              HasSubstr("no training case of the data set has a \"fold\""));
}

TEST(CaseSplitTest, AFoldIsRefusedWhereTheDataSetNamesItsValidationCases) {
  Dataset dataset;
  dataset.training.resize(3);
  dataset.validation.resize(1);
  EXPECT_THAT(message_of([&] { split_dataset(dataset, {.fold = 0}, 0); }),
              HasSubstr("own validation cases"));
}

// A data set of `count` cases called case_00, case_01, ... in a folder of that name.
Dataset named_cases(const fs::path& folder, int count) {
  Dataset dataset;
  fs::create_directories(folder);
  dataset.file = folder / "dataset.json";
  dataset.root = folder;
  for (int i = 0; i < count; ++i) {
    const std::string number = std::to_string(i);
    dataset.training.push_back({.name = "case_" + std::string(number.size() < 2, '0') + number});
  }
  return dataset;
}

// sklearn's KFold(5, shuffle=True, random_state=12345), from numpy's own generator:
//   order = numpy.arange(n); numpy.random.RandomState(12345).shuffle(order)
// and then n // 5 indices a fold, one more in the first n % 5, each fold sorted.
TEST(NnunetFoldsTest, AreThoseThatNnunetMakes) {
  using Rows = std::vector<std::vector<std::size_t>>;
  const std::vector<std::pair<int, Rows>> expected = {
      {5, {{0}, {4}, {3}, {1}, {2}}},
      {12, {{0, 3, 8}, {7, 10, 11}, {6, 9}, {1, 4}, {2, 5}}},
      {23,
       {{3, 8, 10, 17, 19},
        {0, 7, 12, 15, 16},
        {6, 11, 14, 18, 20},
        {9, 13, 21, 22},
        {1, 2, 4, 5}}}};
  const testing::TemporaryFolder folder;
  for (const auto& [count, rows] : expected) {
    Dataset dataset = named_cases(folder / "data", count);
    std::reverse(dataset.training.begin(),
                 dataset.training.end());  // the names count, not the order
    for (int fold = 0; fold < 5; ++fold) {
      const CaseSplit split = split_dataset(dataset, {.fold = fold}, 77);
      std::vector<std::size_t> held;
      for (const std::size_t index : split.validation)
        held.push_back(static_cast<std::size_t>(count) - 1 - index);
      std::sort(held.begin(), held.end());
      EXPECT_EQ(held, rows[static_cast<std::size_t>(fold)]) << count << " cases, fold " << fold;
      EXPECT_EQ(split.training.size() + held.size(), static_cast<std::size_t>(count));
      EXPECT_EQ(split.folds.size(), 5U);
    }
  }
}

TEST(NnunetFoldsTest, OfADataSetWithoutCasesAreRefused) {
  const testing::TemporaryFolder folder;
  std::ofstream(folder / "splits_final.json") << R"([{"train": ["a"], "val": ["b"]}])";
  EXPECT_THROW(read_folds(folder / "splits_final.json", {}), InputError);
}

TEST(NnunetFoldsTest, FiveFoldsNeedFiveCasesAndHaveFiveNumbers) {
  const testing::TemporaryFolder folder;
  Dataset small = named_cases(folder / "data", 4);
  EXPECT_THAT(message_of([&] { split_dataset(small, {.fold = 0}, 0); }), HasSubstr("at least 5"));
  Dataset dataset = named_cases(folder / "data", 9);
  EXPECT_THAT(message_of([&] { split_dataset(dataset, {.fold = 5}, 0); }),
              AllOf(HasSubstr("found 5"), HasSubstr("0 to 4")));
}

class FoldsFileTest : public ::testing::Test {
 protected:
  FoldsFileTest() { set_log_level(LogLevel::kError); }
  CaseSplit split(const std::string& text, int fold = 0) {
    std::ofstream(dataset_.root / "splits_final.json") << text;
    return split_dataset(dataset_, {.fold = fold}, 0);
  }
  std::string refused(const std::string& text, int fold = 0) {
    return message_of([&] { split(text, fold); });
  }

  testing::TemporaryFolder folder_;
  Dataset dataset_ = named_cases(folder_ / "nnUNet_raw" / "Dataset007_Balls", 6);
};

TEST_F(FoldsFileTest, TheFileBesideTheDataSetDecides) {
  const std::string text =
      R"([{"train": ["case_00", "case_03"], "val": ["case_05"]},
          {"train": ["case_05", "case_04", "case_01", "case_02"], "val": ["case_03", "case_00"]}])";
  const CaseSplit first = split(text);
  EXPECT_EQ(first.training, (std::vector<std::size_t>{0, 3}));
  EXPECT_EQ(first.validation, (std::vector<std::size_t>{5}));
  EXPECT_THAT(first.origin, HasSubstr("splits_final.json"));
  const CaseSplit second = split(text, 1);
  EXPECT_EQ(second.training, (std::vector<std::size_t>{1, 2, 4, 5}));
  EXPECT_EQ(second.validation, (std::vector<std::size_t>{0, 3}));
  EXPECT_EQ(to_json(second, dataset_)["validation"], Json({"case_00", "case_03"}));
  EXPECT_EQ(second.folds, Json::parse(text));
  EXPECT_THAT(refused(text, 2), HasSubstr("2 folds"));
}

TEST_F(FoldsFileTest, ThePreprocessedFolderIsLookedIntoToo) {
  const std::string text = R"([{"train": ["case_00"], "val": ["case_01"]}])";
  const fs::path beside = folder_ / "nnUNet_preprocessed" / "Dataset007_Balls";
  fs::create_directories(beside);
  std::ofstream(beside / "splits_final.json") << text;
  EXPECT_EQ(split_dataset(dataset_, {.fold = 0}, 0).validation, (std::vector<std::size_t>{1}));
  const fs::path elsewhere = folder_ / "elsewhere" / "Dataset007_Balls";
  fs::create_directories(elsewhere);
  std::ofstream(elsewhere / "splits_final.json")
      << R"([{"train": ["case_00"], "val": ["case_02"]}])";
  setenv("nnUNet_preprocessed", (folder_ / "elsewhere").c_str(), 1);
  EXPECT_EQ(split_dataset(dataset_, {.fold = 0}, 0).validation, (std::vector<std::size_t>{2}));
  unsetenv("nnUNet_preprocessed");
}

TEST_F(FoldsFileTest, WhatCannotBeUsedIsNamed) {
  EXPECT_THAT(refused(R"([{"train": ["case_00"], "val": ["case_09"]}])"), HasSubstr("case_09"));
  EXPECT_THAT(refused(R"([{"train": ["case_00", "case_01"], "val": ["case_01"]}])"),
              AllOf(HasSubstr("case_01"), HasSubstr("twice")));
  EXPECT_THAT(refused(R"([{"train": [], "val": ["case_01"]}])"), HasSubstr("no case"));
  EXPECT_THAT(refused(R"([{"train": ["case_00"], "val": []}])"), HasSubstr("no case"));
  for (const char* text : {"{}", "[]", "3", "[3]", "[{}]", R"([{"train": "case_00", "val": []}])",
                           R"([{"train": [1], "val": ["case_00"]}])", "["})
    EXPECT_THAT(refused(text), HasSubstr("splits_final.json")) << text;
}

}  // namespace
}  // namespace lamp
