// Windows blend to what MONAI's blend to, and to what must come out for predictors whose answer is
// known.
#include "lamp/inference/sliding_window.h"

#include <gtest/gtest.h>
#include <torch/torch.h>

#include "lamp/base/errors.h"
#include "lamp/base/json.h"
#include "lamp/base/safetensors.h"
#include "lamp/inference/predictor.h"
#include "lamp/nets/net_factory.h"

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

TEST(SlidingWindowTest, AWindowLargerThanTheImageSeesTheLastVoxelsRepeated) {
  const torch::Tensor image = torch::rand({1, 3, 6, 4});
  torch::Tensor seen;
  const torch::Tensor scores = sliding_window(image, {{9, 6, 8}, 0.5}, [&](const torch::Tensor& x) {
    seen = x.clone();
    return x * 5;
  });
  ASSERT_EQ(seen.sizes(), (std::vector<std::int64_t>{1, 1, 8, 6, 9}));
  for (std::int64_t z = 0; z < 8; ++z)
    for (std::int64_t y = 0; y < 6; ++y)
      for (std::int64_t x = 0; x < 9; ++x)
        ASSERT_EQ(
            seen[0][0][z][y][x].item<float>(),
            image[0][std::min<std::int64_t>(z, 2)][y][std::min<std::int64_t>(x, 3)].item<float>());
  EXPECT_EQ(scores.sizes(), image.sizes());
  EXPECT_TRUE(scores.is_contiguous());
  EXPECT_TRUE(torch::allclose(scores, image * 5));
}

// Sums over 3 x 3 x 3 neighbours, with zeros around what it is given: where the window ends shows.
torch::Tensor box_sum(const torch::Tensor& x) {
  return torch::conv3d(x, torch::ones({1, 1, 3, 3, 3}), {}, 1, 1);
}

TEST(SlidingWindowTest, WindowsBeyondTheImageAreThoseOfTheExtendedImage) {
  using Size = std::array<std::int64_t, 3>;
  const std::pair<Size, Size> cases[] = {{{5, 6, 7}, {5, 6, 12}}, {{5, 6, 7}, {9, 4, 4}},
                                         {{5, 6, 1}, {4, 4, 4}},  {{1, 1, 1}, {4, 4, 4}},
                                         {{1, 9, 2}, {1, 4, 8}},  {{2, 2, 2}, {32, 32, 32}}};
  for (const auto& [size, window] : cases) {
    const torch::Tensor image = torch::rand({1, size[0], size[1], size[2]});
    torch::Tensor extended = image;
    for (std::int64_t axis = 1; axis < 4; ++axis) {  // the last slice again and again
      std::vector<torch::Tensor> parts = {extended};
      while (extended.size(axis) + std::int64_t(parts.size()) - 1 < window[axis - 1])
        parts.push_back(extended.narrow(axis, extended.size(axis) - 1, 1));
      extended = torch::cat(parts, axis);
    }
    const WindowOptions options{{window[2], window[1], window[0]}, 0.5};
    const torch::Tensor found = sliding_window(image, options, box_sum);
    const torch::Tensor expected = sliding_window(extended, options, box_sum)
                                       .slice(1, 0, size[0])
                                       .slice(2, 0, size[1])
                                       .slice(3, 0, size[2]);
    EXPECT_TRUE(torch::equal(found, expected));
  }
}

// One rule for windows and for strides: where both lead to the same size, to the last bit.
TEST(SlidingWindowTest, AWindowOfTheSizeThatTheStrideAsksForGivesTheWholeVolumesScores) {
  Network network = make_network({.name = "unet", .width = 4, .depth = 2});
  network.initialise(3);
  network.chain->eval();
  const Predictor predictor = make_predictor(network, torch::kCPU, torch::kFloat32);
  const std::int64_t stride = network.stride_multiple;
  for (const auto& size : {std::array<std::int64_t, 3>{9, 10, 11}, {1, 5, 12}, {4, 4, 4}}) {
    const torch::Tensor image = torch::randn({1, size[0], size[1], size[2]});
    const auto up = [&](std::int64_t length) { return (length + stride - 1) / stride * stride; };
    const std::array<std::int64_t, 3> window = {up(size[2]), up(size[1]), up(size[0])};
    for (const Blend blend : {Blend::kGaussian, Blend::kConstant}) {
      const torch::Tensor found = sliding_window(image, {window, 0.5, blend}, predictor);
      const torch::Tensor whole = predictor(image.unsqueeze(0))[0];
      EXPECT_LT((found - whole).abs().max().item<double>(),
                1e-6 * whole.abs().max().item<double>());
    }
  }
}

// A mirrored image is filled like any other, so the far end of the anatomy is extended then; a
// window that fits needs no filling, and mirroring comes back to the same place.
TEST(SlidingWindowTest, AMirroredImageIsFilledLikeAnyOther) {
  const torch::Tensor image = torch::rand({1, 4, 5, 6});
  torch::Tensor seen;
  const auto keep = [&](const torch::Tensor& x) { return seen = x.clone(); };
  const torch::Tensor scores = sliding_window(image.flip({3}), {{9, 5, 4}, 0.5}, keep);
  EXPECT_TRUE(torch::equal(seen[0].slice(3, 0, 6), image.flip({3})));
  EXPECT_TRUE(torch::equal(seen[0].slice(3, 6, 9), image.slice(3, 0, 1).expand({1, 4, 5, 3})));
  EXPECT_TRUE(torch::allclose(scores.flip({3}), image));
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
