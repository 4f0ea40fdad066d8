#include "lamp/convert/hidden_annotations.h"

#include <gtest/gtest.h>
#include <torch/types.h>

#include <algorithm>
#include <set>

#include "lamp/base/errors.h"
#include "lamp/base/files.h"
#include "lamp/base/json.h"
#include "lamp/dataset/case_volumes.h"
#include "lamp/formats/volume_io.h"
#include "lamp/phantoms/phantom.h"
#include "support/temporary_folder.h"

namespace lamp {
namespace {

class HiddenAnnotationsTest : public ::testing::Test {
 protected:
  HiddenAnnotationsTest() {
    write_phantoms({.kind = "han",
                    .folder = folder_ / "all",
                    .train = 4,
                    .test = 1,
                    .size = {40, 40, 40},
                    .seed = 2});
    dataset_ = read_dataset(folder_ / "all");
  }

  Dataset hidden(double share, bool declared, double complete = 0) const {
    const auto name = std::to_string(share) + (declared ? "d" : "b") + std::to_string(complete);
    return read_dataset(hide_annotations(
        dataset_,
        {.share = share, .complete = complete, .declared = declared, .folder = folder_ / name}));
  }

  testing::TemporaryFolder folder_;
  Dataset dataset_;
};

std::set<int> values(const Case& entry, const Dataset& dataset) {
  std::set<int> found;
  for (const auto& [value, count] : count_values(read_case_label(entry, dataset).voxels))
    if (value != 0) found.insert(static_cast<int>(value));
  return found;
}

TEST_F(HiddenAnnotationsTest, HiddenLabelsAreGoneAndDeclared) {
  const Dataset copy = hidden(0.6, true);
  int gone = 0;
  for (std::size_t i = 0; i < copy.training.size(); ++i) {
    const auto& annotated = copy.training[i].annotated;
    const std::set<int> before = values(dataset_.training[i], dataset_);
    std::set<int> expected;
    for (const int label : before)
      if (!annotated || std::count(annotated->begin(), annotated->end(), label) > 0)
        expected.insert(label);
    EXPECT_EQ(values(copy.training[i], copy), expected);
    EXPECT_TRUE(!annotated || !annotated->empty());
    gone += annotated ? 9 - static_cast<int>(annotated->size()) : 0;
  }
  EXPECT_GT(gone, 36 * 0.4);
  EXPECT_LT(gone, 36 * 0.8);
  EXPECT_EQ(copy.training[0].images, dataset_.training[0].images);
  EXPECT_EQ(copy.test[0].images, dataset_.test[0].images);
}

TEST_F(HiddenAnnotationsTest, ACopyThatSomebodyChangedIsNotReplaced) {
  const Dataset copy = hidden(0.6, true);
  EXPECT_NO_THROW(hidden(0.6, true));  // its own
  const std::string list = read_file(copy.file);
  Json changed = Json::parse(list);
  changed["labels"]["1"] = "Stem";
  write_file(copy.file, changed.dump());
  EXPECT_THROW(hidden(0.6, true), UsageError);
  EXPECT_EQ(read_file(copy.file), changed.dump());
  write_file(copy.file, list);
  EXPECT_NO_THROW(hidden(0.6, true));
  Volume label = read_image(copy.training[0].label);
  label.voxels = label.voxels.zero_().to(torch::kUInt8);
  write_volume(copy.training[0].label, label);
  EXPECT_THROW(hidden(0.6, true), UsageError);
}

TEST_F(HiddenAnnotationsTest, UndeclaredTheSameVoxelsPassForBackground) {
  const Dataset declared = hidden(0.6, true), silent = hidden(0.6, false);
  for (std::size_t i = 0; i < silent.training.size(); ++i) {
    EXPECT_FALSE(silent.training[i].annotated);
    EXPECT_TRUE(torch::equal(read_case_label(silent.training[i], silent).voxels,
                             read_case_label(declared.training[i], declared).voxels));
  }
}

TEST_F(HiddenAnnotationsTest, WhatASmallerShareHidesALargerOneHidesToo) {
  const Dataset few = hidden(0.3, true), many = hidden(0.6, true);
  for (std::size_t i = 0; i < few.training.size(); ++i) {
    if (!many.training[i].annotated) continue;
    for (const int label : *many.training[i].annotated) {
      const auto& kept = few.training[i].annotated;
      EXPECT_TRUE(!kept || std::count(kept->begin(), kept->end(), label) > 0);
    }
  }
}

TEST_F(HiddenAnnotationsTest, SoManyCasesKeepEverythingAndTheOthersLoseTheMore) {
  const auto complete_of = [](const Dataset& copy) {
    std::vector<bool> complete;
    for (const Case& entry : copy.training) complete.push_back(!entry.annotated);
    return complete;
  };
  const Dataset half = hidden(0.4, true, 0.5);
  const std::vector<bool> complete = complete_of(half);
  EXPECT_EQ(std::count(complete.begin(), complete.end(), true), 2);
  EXPECT_EQ(complete_of(hidden(0.2, true, 0.5)), complete);
  int gone = 0;
  for (std::size_t i = 0; i < half.training.size(); ++i) {
    if (complete[i])
      EXPECT_EQ(values(half.training[i], half), values(dataset_.training[i], dataset_));
    else
      gone += 9 - static_cast<int>(half.training[i].annotated->size());
  }
  EXPECT_GT(gone, 18 * 0.6);  // of the others' 18 labels, of which 80 % go
}

}  // namespace
}  // namespace lamp
