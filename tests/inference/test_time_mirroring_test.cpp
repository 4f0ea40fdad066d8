// Which axes are mirrored, that flips undo themselves, and that left and right change places.
#include "lamp/inference/test_time_mirroring.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/types.h>

#include "lamp/base/errors.h"

namespace lamp {
namespace {

using ::testing::HasSubstr;

using Labels = std::map<int, std::string>;
const Labels kTwins = {{0, "background"}, {3, "Parotid_L"}, {5, "Chiasm"}, {9, "Parotid_R"}};
const Labels kLonely = {{0, "background"}, {1, "Parotid_L"}};
const Labels kPlain = {{0, "background"}, {1, "liver"}};

std::string mirroring_refusal(const MirrorRequest& request,
                              const std::vector<TrainedMirroring>& models, const Labels& labels) {
  try {
    settle_mirroring(request, models, labels);
  } catch (const UsageError& error) {
    return error.what();
  }
  return "accepted";
}

TEST(MirroringTest, AxesAreNamedOnceEach) {
  EXPECT_EQ(parse_mirror_request("x,y,z").axes, (std::vector<int>{0, 1, 2}));
  EXPECT_EQ(parse_mirror_request("z").axes, (std::vector<int>{2}));
  EXPECT_TRUE(parse_mirror_request("trained").as_trained);
  for (const char* text : {"", "w", "x,x", "xy", "x,", ",x", "x,,y"})
    EXPECT_THROW(parse_mirror_request(text), UsageError) << text;
}

TEST(MirroringTest, EverySubsetOfTheAxesIsFlippedOnce) {
  const auto flips = mirror_flips({1, 2});
  EXPECT_EQ(flips, (std::vector<std::vector<std::int64_t>>{{}, {-2}, {-3}, {-2, -3}}));
  EXPECT_EQ(mirror_flips({0, 1, 2}).size(), 8U);
}

TEST(MirroringTest, OnlyWhatTrainingMirroredIsMirrored) {
  const MirrorRequest all{.axes = {0, 1, 2}}, trained{.as_trained = true};
  for (const MirrorRequest& request : {all, trained}) {
    const Mirroring found = settle_mirroring(request, {{"a", std::vector<int>{0, 1}}}, kTwins);
    EXPECT_EQ(found.axes, (std::vector<int>{0, 1}));
    ASSERT_EQ(found.left_out.size(), 1U);
    EXPECT_THAT(found.left_out.front(), HasSubstr("along z"));
    EXPECT_TRUE(settle_mirroring(request, {{"a", std::vector<int>{}}}, kLonely).axes.empty());
  }
  EXPECT_EQ(settle_mirroring({.axes = {1}}, {{"a", std::vector<int>{0, 1}}}, kPlain).axes,
            (std::vector<int>{1}));
  EXPECT_TRUE(settle_mirroring({}, {{"a", std::vector<int>{0, 1}}}, kPlain).axes.empty()) << "off";
}

TEST(MirroringTest, EveryModelOfAnEnsembleMustBearAnAxis) {
  const Mirroring found = settle_mirroring(
      {.axes = {0, 1, 2}}, {{"a", std::vector<int>{0, 1}}, {"b", std::vector<int>{1, 2}}}, kPlain);
  EXPECT_EQ(found.axes, (std::vector<int>{1}));
  EXPECT_EQ(found.left_out.size(), 2U);
}

TEST(MirroringTest, ModelsThatDoNotSayAreRefusedForLabelsWithSides) {
  const MirrorRequest all{.axes = {0, 1, 2}};
  EXPECT_EQ(settle_mirroring(all, {{"old", std::nullopt}}, kPlain).axes,
            (std::vector<int>{0, 1, 2}));
  EXPECT_THAT(mirroring_refusal(all, {{"old", std::nullopt}}, kTwins),
              HasSubstr("old does not say"));
  EXPECT_THAT(mirroring_refusal({.as_trained = true}, {{"old", std::nullopt}}, kLonely),
              HasSubstr("Parotid_L"));
  EXPECT_THAT(mirroring_refusal(all, {{"old", std::nullopt}}, {{1, "kidneyL"}, {2, "kidneyR"}}),
              HasSubstr("kidneyL"));
  EXPECT_THAT(mirroring_refusal(all, {{"new", std::vector<int>{0}}, {"old", std::nullopt}}, kTwins),
              HasSubstr("old does not say"));
  EXPECT_THAT(mirroring_refusal(all, {{"odd", std::vector<int>{0}}}, kLonely),
              HasSubstr("no \"Parotid_R\""));
}

// Class 1 is the left parotid, class 3 the right one, whatever their ids are.
TEST(MirroringTest, AnOddNumberOfMirroredAxesExchangesTheTwins) {
  const Mirroring mirroring =
      settle_mirroring({.axes = {0, 1}}, {{"a", std::vector<int>{0, 1}}}, kTwins);
  EXPECT_EQ(mirroring.twins, (std::vector<std::pair<int, int>>{{1, 3}}));
  const torch::Tensor scores = torch::arange(4 * 2 * 3 * 5).reshape({4, 2, 3, 5});
  const torch::Tensor before = scores.clone();
  const torch::Tensor once = mirrored_back(scores, {-1}, mirroring.twins);
  EXPECT_TRUE(torch::equal(once[0], scores[0].flip({-1})));
  EXPECT_TRUE(torch::equal(once[1], scores[3].flip({-1})));
  EXPECT_TRUE(torch::equal(once[2], scores[2].flip({-1})));
  EXPECT_TRUE(torch::equal(once[3], scores[1].flip({-1})));
  const torch::Tensor twice = mirrored_back(scores, {-1, -2}, mirroring.twins);
  EXPECT_TRUE(torch::equal(twice, scores.flip({-1, -2}))) << "a half turn";
  EXPECT_TRUE(torch::equal(mirrored_back(scores, {}, mirroring.twins), scores));
  EXPECT_TRUE(torch::equal(scores, before)) << "the given scores stay";
}

}  // namespace
}  // namespace lamp
