// The choice between whole and windows, with a need that is easy to reckon: one byte a voxel.
#include "lamp/inference/patch_choice.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "lamp/base/errors.h"
#include "lamp/base/size3.h"

namespace lamp {
namespace {

using ::testing::HasSubstr;

PatchBudget budget(std::int64_t limit, bool user_limit = false) {
  return {.volume = {100, 60, 40},
          .multiple = 16,
          .limit_bytes = limit,
          .user_limit = user_limit,
          .need = [](const Size3& size, bool) { return size[0] * size[1] * size[2]; }};
}

std::string patch_refusal(const PatchRequest& request, const PatchBudget& limits) {
  try {
    choose_patch(request, limits);
  } catch (const DoesNotFit& error) {
    EXPECT_EQ(error.exit_code(), 5);
    return error.what();
  }
  return "accepted";
}

TEST(PatchChoiceTest, AutoTakesTheWholeVolumeWhereItFits) {
  const PatchChoice choice = choose_patch({}, budget(240000));
  EXPECT_TRUE(choice.whole);
  EXPECT_EQ(choice.to_json(), "whole");
}

TEST(PatchChoiceTest, AutoShortensTheLongestAxisFirst) {
  EXPECT_EQ(choose_patch({}, budget(239999)).size, (Size3{96, 60, 40}));
  EXPECT_EQ(choose_patch({}, budget(160000)).size, (Size3{64, 60, 40}));
  EXPECT_EQ(choose_patch({}, budget(122880)).size, (Size3{48, 60, 40}));
  EXPECT_EQ(choose_patch({}, budget(100000)).size, (Size3{48, 48, 40}));
  EXPECT_EQ(choose_patch({}, budget(4096)).size, (Size3{16, 16, 16}));
}

TEST(PatchChoiceTest, NothingFitsSaysWhatIsNeeded) {
  EXPECT_THAT(patch_refusal({}, budget(4095)), HasSubstr("4.0 KiB"));
}

TEST(PatchChoiceTest, WholeBeyondTheUsersLimitNamesTheWindowThatFits) {
  const PatchRequest whole{.kind = PatchRequest::kWhole};
  EXPECT_THAT(patch_refusal(whole, budget(160000, true)), HasSubstr("patch=64,60,40"));
  EXPECT_TRUE(choose_patch(whole, budget(160000, false)).whole) << "without a limit it is tried";
}

TEST(PatchChoiceTest, WhatNoMemoryHoldsIsRefusedWithoutALimit) {
  PatchBudget limits = budget(240000);
  limits.most_bytes = 300000;
  const std::string message = patch_refusal(parse_patch("100,100,100"), limits);
  EXPECT_THAT(message, HasSubstr("a window of 100x100x100 voxels needs 976.6 KiB"));
  EXPECT_THAT(message, HasSubstr("patch=whole (234.4 KiB) or patch=auto would fit"));
  limits.limit_bytes = 160000;
  EXPECT_THAT(patch_refusal(parse_patch("100,100,100"), limits), HasSubstr("patch=64,60,40"));
  EXPECT_EQ(patch_refusal({.kind = PatchRequest::kWhole}, limits), "accepted") << "a warning";
  limits.most_bytes = 200000;
  EXPECT_THAT(patch_refusal({.kind = PatchRequest::kWhole}, limits), HasSubstr("the whole volume"));
}

TEST(PatchChoiceTest, ALimitBelowTheProgramsOwnSizeSaysHowMuchMemoryToGive) {
  PatchBudget limits = budget(0, true);
  limits.taken_bytes = std::int64_t{200} << 20;
  EXPECT_THAT(patch_refusal({}, limits), HasSubstr("memory=200.1MiB or more"));
}

TEST(PatchChoiceTest, AFixedWindowIsTakenAsItIs) {
  const PatchChoice choice = choose_patch(parse_patch("33,20,10"), budget(160000));
  EXPECT_FALSE(choice.whole);
  EXPECT_EQ(choice.to_json().dump(), "[33,20,10]");
}

TEST(PatchChoiceTest, ReadsThreeFormsAndRefusesOthers) {
  EXPECT_EQ(parse_patch("auto").kind, PatchRequest::kAuto);
  EXPECT_EQ(parse_patch("whole").kind, PatchRequest::kWhole);
  EXPECT_EQ(parse_patch("1,2,3").size, (Size3{1, 2, 3}));
  for (const char* text :
       {"", "128", "1,2", "1,2,3,4", "1,2,x", "0,2,3", "1,-2,3", "1,2,99999999", "all", "1,,3"})
    EXPECT_THROW(parse_patch(text), UsageError) << text;
}

}  // namespace
}  // namespace lamp
