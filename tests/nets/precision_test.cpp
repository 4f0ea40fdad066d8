#include "lamp/nets/precision.h"

#include <gtest/gtest.h>
#include <torch/types.h>
#include <torch/utils.h>

#include "lamp/base/errors.h"
#include "lamp/base/log.h"
#include "lamp/nets/net_factory.h"
#include "support/operator_counter.h"

namespace lamp {
namespace {

KernelShape shape_of(std::int64_t size) {
  return {.input = {1, 4, size, size, size},
          .weight = {6, 4, 3, 3, 3},
          .stride = {1, 1, 1},
          .padding = {1, 1, 1},
          .channels_last = false};
}

TEST(PrecisionTest, NamesAreCheckedAndFp16NeedsAGpu) {
  EXPECT_EQ(parse_precision("bf16", c10::kCPU), Precision::kBf16);
  EXPECT_EQ(parse_precision("fp16", c10::kCUDA), Precision::kFp16);
  EXPECT_THROW(parse_precision("fp16", c10::kCPU), UsageError);
  EXPECT_THROW(parse_precision("int8", c10::kCPU), UsageError);
}

TEST(PrecisionTest, ARightKernelIsTrustedAndAWrongOneIsNot) {
  EXPECT_TRUE(check_kernel(shape_of(12)));
  EXPECT_FALSE(check_kernel(shape_of(12), 1e37));
  EXPECT_FALSE(check_kernel(shape_of(12), std::numeric_limits<double>::quiet_NaN()));
  EXPECT_FALSE(check_kernel(shape_of(12), 500));
}

TEST(PrecisionTest, TransposedAndStridedShapesAreChecked) {
  KernelShape up{.transposed = true,
                 .input = {2, 8, 5, 6, 7},
                 .weight = {8, 4, 2, 2, 2},
                 .stride = {2, 2, 2},
                 .padding = {0, 0, 0},
                 .channels_last = true};
  EXPECT_TRUE(check_kernel(up));
  KernelShape down = shape_of(13);
  down.stride = {2, 2, 2};
  EXPECT_TRUE(check_kernel(down));
}

TEST(PrecisionTest, TheShapeWithTheKnownFaultIsNeverTrusted) {
  set_log_level(LogLevel::kError);
  KernelShape shape{.input = {1, 64, 2, 2, 2},
                    .weight = {64, 64, 3, 3, 3},
                    .stride = {1, 1, 1},
                    .padding = {1, 1, 1},
                    .channels_last = true};
  EXPECT_FALSE(kernel_agrees(shape));
}

TEST(PrecisionTest, PredictionLooksAtTheOutputOnly) {
  KernelShape shape = shape_of(12);
  shape.forward_only = true;
  EXPECT_TRUE(check_kernel(shape));
  EXPECT_FALSE(check_kernel(shape, 500));
  EXPECT_FALSE(check_kernel(shape, std::numeric_limits<double>::quiet_NaN()));
  // The shape whose weight gradient is wrong serves well for predicting.
  KernelShape bottleneck{.input = {1, 64, 2, 2, 2},
                         .weight = {64, 64, 3, 3, 3},
                         .stride = {1, 1, 1},
                         .padding = {1, 1, 1},
                         .channels_last = true,
                         .forward_only = true};
  EXPECT_TRUE(kernel_agrees(bottleneck));
}

TEST(PrecisionTest, VolumesOfManySizesShareTheirChecksInPrediction) {
  Network network = make_network({.width = 8, .depth = 2, .classes = 3});
  network.initialise(1);
  network.use_channels_last();
  network.chain->eval();
  const torch::InferenceMode no_gradients;
  const PrecisionScope scope(Precision::kBf16, c10::kCPU);
  // A check runs convolutions of its own.
  const testing::OperatorCounter counter;
  const auto convolutions_of = [&](std::int64_t length) {
    const std::int64_t before = counter.calls_of("aten::convolution");
    network.forward(torch::zeros({1, 1, 64, 64, length}));
    return counter.calls_of("aten::convolution") - before;
  };
  const std::int64_t with_checks = convolutions_of(128), without = convolutions_of(128);
  EXPECT_GT(with_checks, without);
  EXPECT_EQ(convolutions_of(160), without);
  EXPECT_EQ(convolutions_of(256), without);
}

TEST(PrecisionTest, Bf16LogitsAreCloseToFp32AndGradientsStayFinite) {
  set_log_level(LogLevel::kError);
  Network network = make_network({.width = 8, .depth = 3, .classes = 3});
  network.initialise(1);
  network.use_channels_last();
  network.chain->train();
  torch::manual_seed(0);
  const torch::Tensor input = torch::randn({2, 1, 32, 32, 32});
  const torch::Tensor exact = network.forward(input).detach();
  torch::Tensor reduced;
  {
    const PrecisionScope scope(Precision::kBf16, c10::kCPU);
    reduced = network.forward(input);
  }
  EXPECT_EQ(reduced.scalar_type(), torch::kBFloat16);
  EXPECT_LT((reduced.detach().to(torch::kFloat32) - exact).norm().item<double>() /
                exact.norm().item<double>(),
            0.05);
  reduced.to(torch::kFloat32).pow(2).mean().backward();
  for (const auto& parameter : network.chain->parameters()) {
    EXPECT_EQ(parameter.scalar_type(), torch::kFloat32);
    if (parameter.grad().defined()) {
      EXPECT_TRUE(torch::isfinite(parameter.grad()).all().item<bool>());
    }
  }
}

TEST(PrecisionTest, AScopeLeavesNothingBehind) {
  const torch::Tensor a = torch::ones({4, 4});
  {
    const PrecisionScope scope(Precision::kBf16, c10::kCPU);
    EXPECT_EQ(a.mm(a).scalar_type(), torch::kBFloat16);
  }
  EXPECT_EQ(a.mm(a).scalar_type(), torch::kFloat32);
}

}  // namespace
}  // namespace lamp
