// Windows blend to what MONAI's blend to, and to what must come out for predictors whose answer is
// known.
#include "lamp/inference/sliding_window.h"

#include <gtest/gtest.h>
#include <torch/types.h>

#include "lamp/base/errors.h"
#include "lamp/base/json.h"
#include "lamp/base/safetensors.h"
#include "lamp/base/size3.h"
#include "lamp/inference/predictor.h"
#include "lamp/nets/net_factory.h"
#include "support/devices.h"

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
  const Shape3 roi{about["roi"].get<std::array<std::int64_t, 3>>()};
  const auto network = [&](const torch::Tensor& x) {
    const torch::Tensor hidden = torch::conv3d(x, t.at("w0"), t.at("b0"), 1, 2).tanh();
    return torch::conv3d(hidden, t.at("w1"), t.at("b1"), 1, 2);
  };
  for (const std::int64_t batch : {1, 4}) {
    const torch::Tensor scores =
        sliding_window(t.at("input")[0],
                       {.size = roi.xyz(),
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

// Sums over 3 x 3 x 3 neighbours, with zeros around what it is given: where the window ends shows.
torch::Tensor box_sum(const torch::Tensor& x) {
  return torch::conv3d(x, torch::ones({1, 1, 3, 3, 3}), {}, 1, 1);
}

TEST(SlidingWindowTest, AWindowLongerThanTheImageIsAsLongAsTheImage) {
  const std::pair<Shape3, Shape3> cases[] = {{{5, 6, 7}, {5, 6, 12}}, {{5, 6, 7}, {9, 4, 4}},
                                             {{5, 6, 1}, {4, 4, 4}},  {{1, 1, 1}, {4, 4, 4}},
                                             {{1, 9, 2}, {1, 4, 8}},  {{2, 2, 2}, {32, 32, 32}}};
  for (const auto& [size, window] : cases) {
    const torch::Tensor image = torch::rand({1, size[0], size[1], size[2]});
    const auto seen_by = [&](const Shape3& asked) {
      return sliding_window(image, {asked.xyz(), 0.5}, box_sum);
    };
    const Shape3 fits = {std::min(size[0], window[0]), std::min(size[1], window[1]),
                         std::min(size[2], window[2])};
    EXPECT_TRUE(torch::equal(seen_by(window), seen_by(fits)));
    EXPECT_TRUE(seen_by(window).is_contiguous());
    EXPECT_EQ(seen_by(window).sizes(), image.sizes());
  }
}

class SlidingWindowDeviceTest : public testing::DeviceTest {};

// One rule for windows and for whole volumes: a window over all of it gives the volume's scores,
// also where the network's strides ask for more.
TEST_P(SlidingWindowDeviceTest, AWindowOverTheWholeImageGivesTheWholeImagesScores) {
  Network network = make_network({.name = "unet", .width = 4, .depth = 2});
  network.initialise(3);
  place_network(network, {.device = device(), .layout = Layout::kContiguous});
  const Predictor predictor = make_predictor(network, device(), torch::kFloat32);
  for (const auto& size : {Size3{9, 10, 11}, {1, 5, 12}, {4, 4, 4}}) {
    const torch::Tensor image = torch::randn({1, size[0], size[1], size[2]});
    const torch::Tensor whole = predictor(image.unsqueeze(0))[0];
    for (const Blend blend : {Blend::kGaussian, Blend::kConstant}) {
      for (const std::int64_t more : {0, 1, 3, 40}) {
        const torch::Tensor found = sliding_window(
            image, {{size[2] + more, size[1] + more, size[0] + more}, 0.5, blend}, predictor);
        EXPECT_LT((found.cpu() - whole.cpu()).abs().max().item<double>(),
                  tolerance(1e-6, 1e-5) * whole.abs().max().item<double>());
      }
    }
  }
}

LAMP_TEST_ON_DEVICES(SlidingWindowDeviceTest);

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
