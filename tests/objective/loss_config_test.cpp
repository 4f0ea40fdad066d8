// What the configuration's "loss" may say.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/types.h>

#include "lamp/base/errors.h"
#include "lamp/objective/losses.h"

namespace lamp {
namespace {

LossConfig parse(const std::string& text) { return parse_loss_config(parse_json(text, "test")); }

void expect_refused(const std::string& text, const std::string& message) {
  try {
    parse(text);
    FAIL() << text << " was accepted";
  } catch (const UsageError& error) {
    EXPECT_THAT(error.what(), testing::HasSubstr(message));
  }
}

TEST(LossConfigTest, DefaultIsTheReleasedLampLoss) {
  for (const LossConfig& config :
       {LossConfig{}, parse("null"), parse("{}"), parse(R"({"name": "lamp"})")}) {
    EXPECT_EQ(config.dice, "per_sample");
    EXPECT_EQ(config.focal_weight, 0.5);
    EXPECT_EQ(config.class_weights, "uniform");
  }
}

TEST(LossConfigTest, ANameIsAShorthandThatOtherKeysRefine) {
  const LossConfig config = parse(R"({"name": "dice_cross_entropy", "cross_entropy_weight": 2})");
  EXPECT_EQ(config.dice, "per_sample");
  EXPECT_EQ(config.focal_weight, 0);
  EXPECT_EQ(config.cross_entropy_weight, 2);
}

TEST(LossConfigTest, SurvivesARoundTrip) {
  for (
      const std::string text :
      {R"({"dice": "batch", "focal_weight": 0.1, "class_weights": "inverse_frequency"})",
       R"({"dice": "none", "focal_weight": 0, "boundary_weight": 1, "class_weights": [0, 1, 2.5]})"}) {
    const Json once = to_json(parse(text));
    EXPECT_EQ(to_json(parse_loss_config(once)), once);
    const Json given = parse_json(text, "test");
    for (const auto& item : given.items()) EXPECT_EQ(once[item.key()], item.value()) << item.key();
  }
}

TEST(LossConfigTest, RefusesWhatMakesNoSense) {
  expect_refused(R"({"focal_wait": 1})", "focal_weight");
  expect_refused(R"({"focal_weight": -1})", "expected 0 or more");
  expect_refused(R"({"dice": "both"})", "per_sample");
  expect_refused(R"({"dice": "none", "focal_weight": 0})", "no term");
  expect_refused(R"({"class_weights": []})", "no weight above 0");
  expect_refused(R"({"class_weights": [1, "2"]})", "number");
  expect_refused(R"({"class_weights": 3})", "class_weights");
  expect_refused("[1]", "loss");
}

TEST(AnnotationFlagsTest, ClearTheBackgroundWheneverAClassIsMissing) {
  const torch::Tensor flags = annotation_flags({{}, {1, 2, 3}, {3, 1}, {0, 2}}, 4);
  const torch::Tensor expected =
      torch::tensor({{1, 1, 1, 1}, {1, 1, 1, 1}, {0, 1, 0, 1}, {0, 0, 1, 0}}, torch::kFloat32);
  EXPECT_TRUE(torch::equal(flags, expected));
  EXPECT_THROW(annotation_flags({{4}}, 4), c10::Error);
}

TEST(InverseFrequencyTest, WeighsRareClassesMoreWithMeanOne) {
  const torch::Tensor weights = inverse_frequency_weights({1000, 10, 0, 20});
  EXPECT_NEAR(weights.mean().item<double>(), 1, 1e-6);
  EXPECT_NEAR((weights[1] / weights[3]).item<double>(), 2, 1e-5);
  EXPECT_NEAR((weights[1] / weights[0]).item<double>(), 100, 1e-3);
  EXPECT_EQ(weights[2].item<double>(), 1);
}

}  // namespace
}  // namespace lamp
