// Convolutions in pieces against the same in one piece, and against torch in double. A small limit
// stands for 2^31 elements.
#include "lamp/nets/conv_pieces.h"

#include <ATen/record_function.h>
#include <gtest/gtest.h>
#include <torch/autograd.h>
#include <torch/types.h>
#include <torch/utils.h>

#include <algorithm>
#include <mutex>
#include <string>

#include "lamp/nets/blocks.h"
#include "lamp/nets/guarded_conv.h"
#include "lamp/nets/packed_conv.h"
#include "lamp/nets/precision.h"
#include "lamp/nets/split_conv.h"
#include "support/relative_error.h"

namespace lamp {
namespace {

using testing::relative_error;
using Sizes = std::vector<std::int64_t>;

constexpr std::int64_t kLimit = std::int64_t{1} << 14;

// The elements of the largest tensor that any convolution of torch's gets while it lives.
class LargestCall {
 public:
  LargestCall() {
    largest = 0;
    handle_ = at::addGlobalCallback(at::RecordFunctionCallback(note).needsInputs(true).scopes(
        {at::RecordScope::FUNCTION, at::RecordScope::BACKWARD_FUNCTION}));
  }
  ~LargestCall() { at::removeCallback(handle_); }
  static inline std::atomic<std::int64_t> largest = 0, calls = 0;

 private:
  static std::unique_ptr<at::ObserverContext> note(const at::RecordFunction& call) {
    if (std::string(call.name()).find("convolution") == std::string::npos) return nullptr;
    ++calls;
    for (const c10::IValue& value : call.inputs())
      if (value.isTensor() && value.toTensor().defined())
        largest = std::max(largest.load(), value.toTensor().numel());
    return nullptr;
  }
  at::CallbackHandle handle_;
};

struct PieceCase {
  std::string name;
  ConvGeometry geometry;
  Sizes input, weight;
  bool bias = true;
  std::int64_t limit = 0;  // 0 = a third of a sample

  std::int64_t kernel_limit() const {
    if (limit > 0) return limit;
    const auto output = output_sizes(input, weight, geometry);
    return std::max(c10::multiply_integers(input), c10::multiply_integers(output)) / input[0] / 3;
  }
};

void PrintTo(const PieceCase& entry, std::ostream* out) { *out << entry.name; }

// Output, then the gradients of input, weight and bias.
std::vector<torch::Tensor> results(const PieceCase& c, at::ScalarType dtype,
                                   at::MemoryFormat layout) {
  torch::manual_seed(5);
  std::vector<torch::Tensor> leaves = {torch::randn(c.input).to(dtype).to(layout).clone(),
                                       (torch::randn(c.weight) * 0.2).to(dtype).to(layout).clone()};
  if (c.bias) leaves.push_back(torch::randn({c.weight[c.geometry.transposed ? 1 : 0]}).to(dtype));
  for (torch::Tensor& leaf : leaves) leaf.requires_grad_();
  const torch::Tensor output =
      convolution(leaves[0], leaves[1], c.bias ? leaves[2] : torch::Tensor(), c.geometry);
  torch::manual_seed(6);
  const torch::Tensor arrives = torch::randn(output.sizes()).to(dtype);
  std::vector<torch::Tensor> found = torch::autograd::grad({output}, leaves, {arrives});
  found.insert(found.begin(), output.detach());
  return found;
}

// Every kernel, stride and padding, long along each axis, samples that fit and samples that do not.
std::vector<PieceCase> every_geometry() {
  std::vector<PieceCase> cases;
  for (const bool transposed : {false, true})
    for (const std::int64_t kernel : {1, 2, 3, 5})
      for (const std::int64_t stride : {1, 2, 3})
        for (const std::int64_t padding : {0, 1, 2}) {
          if (padding >= kernel && transposed) continue;
          for (const Sizes& size : {transposed ? Sizes{2, 3, 31, 11, 12} : Sizes{2, 3, 61, 12, 12},
                                    Sizes{1, 2, 8, 90, 14}}) {
            const std::int64_t out = 5, in = size[1];
            cases.push_back(
                {c10::str(transposed ? "up" : "conv", kernel, stride, padding, "_", size[2]),
                 {Sizes(3, stride), Sizes(3, padding), transposed},
                 size,
                 transposed ? Sizes{in, out, kernel, kernel, kernel}
                            : Sizes{out, in, kernel, kernel, kernel}});
          }
        }
  return cases;
}

std::vector<PieceCase> borders() {
  const ConvGeometry same{{1, 1, 1}, {1, 1, 1}}, half{{2, 2, 2}, {1, 1, 1}},
      point{{1, 1, 1}, {0, 0, 0}}, up{{2, 2, 2}, {0, 0, 0}, true};
  return {{"many_samples", same, {9, 4, 10, 10, 10}, {3, 4, 3, 3, 3}, true, kLimit},
          {"one_plane", same, {1, 8, 1, 180, 16}, {8, 8, 3, 3, 3}},
          {"thinner_than_the_halo", {{1, 1, 1}, {2, 2, 2}}, {2, 4, 2, 180, 12}, {4, 4, 5, 5, 5}},
          {"last_axis_of_one", same, {1, 16, 90, 12, 1}, {4, 16, 3, 3, 3}},
          {"only_the_last_axis_is_long", same, {1, 16, 1, 1, 1100}, {8, 16, 3, 3, 3}},
          {"only_the_output_is_large", same, {1, 1, 30, 9, 9}, {8, 1, 3, 3, 3}, false},
          {"only_the_input_is_large", point, {1, 8, 30, 9, 9}, {1, 8, 1, 1, 1}},
          {"halving_an_odd_size", half, {2, 8, 41, 9, 7}, {8, 8, 3, 3, 3}, false},
          {"doubling", up, {2, 8, 15, 9, 7}, {8, 4, 2, 2, 2}},
          {"doubling_one_plane", up, {2, 8, 1, 30, 30}, {8, 4, 2, 2, 2}},
          {"gaps", {{3, 3, 3}, {0, 0, 0}, true}, {1, 4, 17, 6, 6}, {4, 3, 1, 1, 1}},
          {"other_by_axis", {{1, 2, 3}, {0, 1, 2}}, {2, 3, 41, 12, 14}, {4, 3, 1, 3, 5}}};
}

class ConvPiecesTest : public ::testing::TestWithParam<PieceCase> {};

TEST_P(ConvPiecesTest, EqualOnePieceInEveryPrecisionAndLayout) {
  const PieceCase& c = GetParam();
  const auto exact = results(c, torch::kFloat64, at::MemoryFormat::Contiguous);
  for (const auto& [dtype, tolerance] : std::vector<std::pair<at::ScalarType, double>>{
           {torch::kFloat64, 1e-13}, {torch::kFloat32, 1e-5}, {torch::kBFloat16, 2e-2}})
    for (const auto layout : {at::MemoryFormat::Contiguous, at::MemoryFormat::ChannelsLast3d}) {
      const auto whole = results(c, dtype, layout);
      const KernelLimit limit(c.kernel_limit());
      ASSERT_TRUE(is_too_large(c.input, c.weight, c.geometry));
      const LargestCall watch;
      const auto pieces = results(c, dtype, layout);
      EXPECT_LT(LargestCall::largest, c.kernel_limit());
      ASSERT_EQ(pieces.size(), whole.size());
      for (std::size_t i = 0; i < whole.size(); ++i) {
        EXPECT_EQ(pieces[i].sizes(), whole[i].sizes());
        EXPECT_EQ(pieces[i].scalar_type(), whole[i].scalar_type());
        EXPECT_LE(relative_error(pieces[i], exact[i]),
                  std::max(tolerance, 1.1 * relative_error(whole[i], exact[i])))
            << c10::toString(dtype) << " " << i;
      }
    }
}

INSTANTIATE_TEST_SUITE_P(Geometries, ConvPiecesTest, ::testing::ValuesIn(every_geometry()),
                         [](const auto& info) { return info.param.name; });
INSTANTIATE_TEST_SUITE_P(Borders, ConvPiecesTest, ::testing::ValuesIn(borders()),
                         [](const auto& info) { return info.param.name; });

// The sizes at which the fault was found: 16 channels of 512^3 are 2^31.
TEST(KernelLimitTest, BeginsAtTwoToThe31) {
  const ConvGeometry same{{1, 1, 1}, {1, 1, 1}}, up{{2, 2, 2}, {0, 0, 0}, true};
  const Sizes weight = {8, 16, 3, 3, 3};
  EXPECT_TRUE(is_too_large({1, 16, 512, 512, 512}, weight, same));
  EXPECT_FALSE(is_too_large({1, 16, 511, 512, 512}, weight, same));
  EXPECT_TRUE(is_too_large({2, 16, 256, 512, 512}, weight, same));
  EXPECT_TRUE(is_too_large({1, 8, 512, 512, 512}, {16, 8, 3, 3, 3}, same));
  EXPECT_TRUE(is_too_large({1, 32, 256, 256, 256}, {32, 16, 2, 2, 2}, up));
  EXPECT_FALSE(is_too_large({1, 32, 255, 256, 256}, {32, 16, 2, 2, 2}, up));
}

TEST(KernelLimitTest, SmallTensorsStayInOnePiece) {
  torch::manual_seed(1);
  const torch::Tensor input = torch::randn({1, 4, 8, 8, 8}), weight = torch::randn({4, 4, 3, 3, 3});
  LargestCall::calls = 0;
  const LargestCall watch;
  const KernelLimit limit(4 * 8 * 8 * 8 + 1);
  convolution(input.to(torch::kFloat64), weight.to(torch::kFloat64), {}, {{1, 1, 1}, {1, 1, 1}});
  EXPECT_EQ(LargestCall::largest, 4 * 8 * 8 * 8);
}

TEST(KernelLimitTest, APlaneThatNoKernelTakesIsAnError) {
  const KernelLimit limit(64);
  EXPECT_THROW(convolution(torch::zeros({1, 64, 2, 2, 2}), torch::zeros({64, 64, 3, 3, 3}), {},
                           {{1, 1, 1}, {1, 1, 1}}),
               c10::Error);
}

// Whoever calls: autocast, weights in bf16, weight gradients as tasks, packed weights.
class CallersTest : public ::testing::Test {
 protected:
  CallersTest() { torch::manual_seed(3); }
  GuardedConv3d conv_ = make_conv({.in = 4, .out = 6, .bias = true});
  torch::Tensor input_ = torch::randn({2, 4, 40, 9, 10});

  // Output and the gradients of weight and bias.
  std::vector<torch::Tensor> run(Precision precision) {
    conv_->zero_grad();
    const PrecisionScope scope(precision, c10::kCPU);
    const torch::Tensor output = conv_->forward(input_);
    output.to(torch::kFloat32).square().sum().backward();
    return {output.detach(), conv_->weight.grad().clone(), conv_->bias.grad().clone()};
  }
};

TEST_F(CallersTest, AutocastRunsInPiecesAsWell) {
  for (const Precision precision : {Precision::kFp32, Precision::kBf16}) {
    const auto whole = run(precision);
    const KernelLimit limit(kLimit);
    const LargestCall watch;
    const auto pieces = run(precision);
    EXPECT_LT(LargestCall::largest, kLimit);
    for (std::size_t i = 0; i < whole.size(); ++i) {
      EXPECT_EQ(pieces[i].scalar_type(), whole[i].scalar_type());
      EXPECT_LT(relative_error(pieces[i], whole[i]), precision == Precision::kFp32 ? 1e-5 : 1e-2);
    }
  }
}

TEST_F(CallersTest, PredictionInBf16RunsInPieces) {
  const torch::InferenceMode no_graph;
  conv_->to(torch::kBFloat16);
  const torch::Tensor whole = conv_->forward(input_.to(torch::kBFloat16));
  const KernelLimit limit(kLimit);
  const LargestCall watch;
  const torch::Tensor pieces = conv_->forward(input_.to(torch::kBFloat16));
  EXPECT_LT(LargestCall::largest, kLimit);
  EXPECT_EQ(pieces.scalar_type(), torch::kBFloat16);
  EXPECT_LT(relative_error(pieces, whole), 1e-2);
}

TEST_F(CallersTest, WeightTasksRunInPieces) {
  const auto tasks_of = [&] {
    const auto tasks = std::make_shared<WeightTasks>();
    conv_->zero_grad();
    split_convolution(input_, conv_->weight, conv_->bias, conv_->geometry(), tasks)
        .square()
        .sum()
        .backward();
    for (const auto& task : *tasks) task();
    return std::vector{conv_->weight.grad().clone(), conv_->bias.grad().clone()};
  };
  const auto whole = tasks_of();
  const KernelLimit limit(kLimit);
  const LargestCall watch;
  const auto pieces = tasks_of();
  EXPECT_LT(LargestCall::largest, kLimit);
  for (std::size_t i = 0; i < whole.size(); ++i)
    EXPECT_LT(relative_error(pieces[i], whole[i]), 1e-5);
}

TEST_F(CallersTest, PackedWeightsLeaveLargeTensorsToThePieces) {
  const torch::NoGradGuard no_graph;
  const auto layer = inference_conv(conv_, /*activated=*/true);
  const auto run_layer = [&] {
    Sequence chain({{"conv", layer}});
    return chain.forward(input_.to(at::MemoryFormat::ChannelsLast3d));
  };
  const torch::Tensor whole = run_layer();
  const KernelLimit limit(kLimit);
  const LargestCall watch;
  const torch::Tensor pieces = run_layer();
  EXPECT_LT(LargestCall::largest, kLimit);
  EXPECT_LT(relative_error(pieces, whole), 1e-5);
}

}  // namespace
}  // namespace lamp
