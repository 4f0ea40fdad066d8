// Windows blend to what MONAI's blend to, and to what must come out for predictors whose answer is
// known.
#include "lamp/inference/sliding_window.h"

#include <gtest/gtest.h>
#include <torch/torch.h>

#include "lamp/base/errors.h"
#include "lamp/base/json.h"
#include "lamp/base/safetensors.h"

namespace lamp {
namespace {

// Adds the x index inside the window, so that blending shows; counts its calls.
struct PositionPredictor {
  int* calls;
  torch::Tensor operator()(const torch::Tensor& window) const {
    ++*calls;
    return window + torch::arange(window.size(4), torch::kFloat32);
  }
};

class MonaiTest : public ::testing::TestWithParam<const char*> {};

TEST_P(MonaiTest, GivesTheReferencesScores) {
  const SafeTensors file =
      read_safetensors(std::string(LAMP_TEST_DATA) + "/sliding_" + GetParam() + ".safetensors");
  const auto& t = file.tensors;
  const Json about = Json::parse(file.metadata.at("about"));
  const auto roi = about["roi"].get<std::array<std::int64_t, 3>>();  // z, y, x
  const auto network = [&](const torch::Tensor& x) {
    const torch::Tensor hidden = torch::conv3d(x, t.at("w0"), t.at("b0"), 1, 2).tanh();
    return torch::conv3d(hidden, t.at("w1"), t.at("b1"), 1, 2);
  };
  for (const std::int64_t batch : {1, 4}) {
    const torch::Tensor scores =
        sliding_window(t.at("input")[0],
                       {.size = {roi[2], roi[1], roi[0]},
                        .overlap = about["overlap"].get<double>(),
                        .blend = parse_blend(about["mode"].get<std::string>()),
                        .batch = batch},
                       network);
    EXPECT_LT((scores - t.at("output")[0]).abs().max().item<double>(), 1e-5);
  }
}

INSTANTIATE_TEST_SUITE_P(BothBlends, MonaiTest, ::testing::Values("gaussian", "constant"));

TEST(SlidingWindowTest, AConstantPredictorGivesItsConstant) {
  const auto two = [](const torch::Tensor& window) {
    return torch::full({window.size(0), 3, window.size(2), window.size(3), window.size(4)}, 2.0);
  };
  for (const Blend blend : {Blend::kGaussian, Blend::kConstant}) {
    for (const double overlap : {0.0, 0.3, 0.9}) {
      const torch::Tensor scores =
          sliding_window(torch::rand({1, 9, 17, 12}), {{5, 6, 7}, overlap, blend}, two);
      EXPECT_EQ(scores.sizes(), (std::vector<std::int64_t>{3, 9, 17, 12}));
      EXPECT_LT((scores - 2).abs().max().item<double>(), 1e-6);
    }
  }
}

TEST(SlidingWindowTest, ConstantBlendIsThePlainAverageOfAllWindows) {
  int calls = 0;
  const torch::Tensor image = torch::zeros({1, 4, 4, 10});
  const torch::Tensor scores =
      sliding_window(image, {{4, 4, 4}, 0.5, Blend::kConstant}, PositionPredictor{&calls});
  EXPECT_EQ(calls, 4);  // windows at x = 0, 2, 4, 6
  const torch::Tensor expected =
      torch::tensor({0.0F, 1.0F, 1.0F, 2.0F, 1.0F, 2.0F, 1.0F, 2.0F, 2.0F, 3.0F});
  EXPECT_TRUE(torch::allclose(scores[0][1][2], expected));
}

TEST(SlidingWindowTest, GaussianBlendFavoursTheNearerCentre) {
  int calls = 0;
  const torch::Tensor scores =
      sliding_window(torch::zeros({1, 4, 4, 6}), {{4, 4, 4}, 0.5}, PositionPredictor{&calls});
  // At x = 2 the first window says 2, half a voxel from its centre, the second 0, 1.5 voxels away:
  // weights exp(-0.5^2 / (2 * 0.5^2)) and exp(-1.5^2 / (2 * 0.5^2)).
  const double near = std::exp(-0.5), far = std::exp(-4.5);
  EXPECT_NEAR(scores[0][1][1][2].item<double>(), 2 * near / (near + far), 1e-5);
}

TEST(SlidingWindowTest, AWindowLargerThanTheImageIsPaddedWithZerosOnBothSides) {
  torch::Tensor seen;
  const torch::Tensor image = torch::ones({1, 3, 6, 4});
  const torch::Tensor scores = sliding_window(image, {{9, 6, 8}, 0.5}, [&](const torch::Tensor& x) {
    seen = x.clone();
    return x * 5;
  });
  EXPECT_EQ(seen.sizes(), (std::vector<std::int64_t>{1, 1, 8, 6, 9}));
  EXPECT_EQ(seen.sum().item<double>(), image.numel());
  EXPECT_EQ(seen[0][0][2][0][2].item<double>(), 1);  // (8 - 3) / 2 = 2 and (9 - 4) / 2 = 2 before
  EXPECT_EQ(seen[0][0][1][0][2].item<double>(), 0);
  EXPECT_EQ(seen[0][0][2][0][1].item<double>(), 0);
  EXPECT_EQ(scores.sizes(), image.sizes());
  EXPECT_TRUE(scores.is_contiguous());
  EXPECT_TRUE(torch::allclose(scores, image * 5));
}

TEST(SlidingWindowTest, RefusesAPredictorThatChangesTheSize) {
  EXPECT_THROW(sliding_window(torch::zeros({1, 8, 8, 8}), {{4, 4, 4}, 0.5},
                              [](const torch::Tensor& x) { return x.narrow(4, 0, 2); }),
               c10::Error);
  EXPECT_THROW(
      sliding_window(torch::zeros({1, 8, 8, 8}), {{4, 4, 4}, 1.0}, [](const auto& x) { return x; }),
      c10::Error);
}

TEST(SlidingWindowTest, BlendsHaveTwoNames) {
  EXPECT_EQ(parse_blend("constant"), Blend::kConstant);
  EXPECT_THROW(parse_blend("linear"), UsageError);
}

}  // namespace
}  // namespace lamp
