#include "lamp/profile/step_seconds.h"

#include <gtest/gtest.h>

namespace lamp {
namespace {

StepSeconds seconds(double forward, double backward, double loss) {
  return {.links = {{forward, backward}, {10 * forward, 10 * backward}}, .loss = loss};
}

void expect_seconds(const StepSeconds& found, double forward, double backward, double loss) {
  ASSERT_EQ(found.links.size(), 2U);
  EXPECT_DOUBLE_EQ(found.links[0].forward, forward);
  EXPECT_DOUBLE_EQ(found.links[0].backward, backward);
  EXPECT_DOUBLE_EQ(found.links[1].forward, 10 * forward);
  EXPECT_DOUBLE_EQ(found.links[1].backward, 10 * backward);
  EXPECT_DOUBLE_EQ(found.loss, loss);
}

TEST(StepSecondsTest, MedianAndMeanAreThoseOfEachNumber) {
  const std::vector<StepSeconds> rounds = {seconds(1, 6, 2), seconds(9, 3, 1), seconds(2, 3, 9)};
  expect_seconds(median_of(rounds), 2, 3, 2);
  expect_seconds(mean_of(rounds), 4, 4, 4);
}

TEST(StepSecondsTest, BlendsByTheShareOfTheSecond) {
  expect_seconds(blended(seconds(1, 2, 3), seconds(5, 6, 7), 0), 1, 2, 3);
  expect_seconds(blended(seconds(1, 2, 3), seconds(5, 6, 7), 1), 5, 6, 7);
  expect_seconds(blended(seconds(1, 2, 3), seconds(5, 6, 7), 0.25), 2, 3, 4);
}

TEST(StepSecondsTest, TakesThePlaceOfTheCostsSeconds) {
  NetworkCosts costs{.layers = {{.name = "a", .forward_s = 7, .backward_s = 8, .weight_s = 2},
                                {.name = "b", .output_bytes = 5}},
                     .loss_s = 3};
  take_seconds(costs, seconds(1, 4, 0.5));
  EXPECT_EQ(costs.layers[0].forward_s, 1);
  EXPECT_EQ(costs.layers[0].backward_s, 4);
  EXPECT_EQ(costs.layers[0].weight_s, 1) << "a quarter of the backward, as before";
  EXPECT_EQ(costs.layers[1].forward_s, 10);
  EXPECT_EQ(costs.layers[1].backward_s, 40);
  EXPECT_EQ(costs.layers[1].weight_s, 0);
  EXPECT_EQ(costs.layers[1].output_bytes, 5);
  EXPECT_EQ(costs.loss_s, 0.5);
}

}  // namespace
}  // namespace lamp
