// Our choice of kernels against torch in double, for the single small samples that it is made for.
#include "lamp/nets/conv_kernel.h"

#include <gtest/gtest.h>
#include <torch/autograd.h>
#include <torch/types.h>
#include <torch/utils.h>

#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "lamp/nets/packed_conv.h"
#include "support/relative_error.h"

namespace lamp {
namespace {

using testing::relative_error;

struct KernelCase {
  std::string name;
  ConvGeometry geometry;
  std::vector<std::int64_t> input;
  std::vector<std::int64_t> weight;
  bool bias = true;
};

void PrintTo(const KernelCase& entry, std::ostream* out) { *out << entry.name; }

const ConvGeometry kSame{{1, 1, 1}, {1, 1, 1}};
const ConvGeometry kHalf{{2, 2, 2}, {1, 1, 1}};
const ConvGeometry kPoint{{1, 1, 1}, {0, 0, 0}};
const ConvGeometry kUp{{2, 2, 2}, {0, 0, 0}, true};

class ConvKernelTest : public ::testing::TestWithParam<KernelCase> {
 protected:
  ConvKernelTest() {
    torch::manual_seed(7);
    const KernelCase& c = GetParam();
    input_ = torch::randn(c.input);
    weight_ = torch::randn(c.weight) * 0.2;
    if (c.bias) bias_ = torch::randn({c.weight[c.geometry.transposed ? 1 : 0]});
  }
  // Fresh leaves in a layout and dtype.
  std::vector<torch::Tensor> leaves(at::MemoryFormat layout, at::ScalarType dtype) const {
    // to(), not contiguous(), which leaves a single channel as it is.
    std::vector<torch::Tensor> found = {input_.to(dtype).to(layout).clone(),
                                        weight_.to(dtype).to(layout).clone()};
    if (bias_.defined()) found.push_back(bias_.to(dtype).clone());
    for (torch::Tensor& leaf : found) leaf.requires_grad_();
    return found;
  }
  torch::Tensor run(const std::vector<torch::Tensor>& leaves) const {
    return convolution(leaves[0], leaves[1], leaves.size() > 2 ? leaves[2] : torch::Tensor(),
                       GetParam().geometry);
  }
  // Output, then the gradient of every leaf.
  std::vector<torch::Tensor> results(at::MemoryFormat layout, at::ScalarType dtype) const {
    const auto with = leaves(layout, dtype);
    const torch::Tensor output = run(with);
    torch::manual_seed(8);
    const torch::Tensor arrives = torch::randn(output.sizes(), torch::kFloat64).to(dtype);
    std::vector<torch::Tensor> found = torch::autograd::grad({output}, with, {arrives});
    found.insert(found.begin(), output.detach());
    return found;
  }

  torch::Tensor input_, weight_, bias_;
};

TEST_P(ConvKernelTest, OutputAndGradientsAreThoseOfTorchInDouble) {
  const auto exact = results(at::MemoryFormat::Contiguous, torch::kFloat64);
  for (const auto layout : {at::MemoryFormat::Contiguous, at::MemoryFormat::ChannelsLast3d}) {
    const auto found = results(layout, torch::kFloat32);
    for (std::size_t i = 0; i < exact.size(); ++i)
      EXPECT_LT(relative_error(found[i], exact[i]), 1e-5) << i;
  }
}

TEST_P(ConvKernelTest, GivesTheSameBitsEachTime) {
  const auto layout = at::MemoryFormat::ChannelsLast3d;
  const auto first = results(layout, torch::kFloat32), second = results(layout, torch::kFloat32);
  for (std::size_t i = 0; i < first.size(); ++i) EXPECT_TRUE(torch::equal(first[i], second[i]));
}

TEST_P(ConvKernelTest, KeepsTheLayoutOfASmallSample) {
  const torch::Tensor output = run(leaves(at::MemoryFormat::ChannelsLast3d, torch::kFloat32));
  EXPECT_TRUE(output.is_contiguous(at::MemoryFormat::ChannelsLast3d));
}

TEST_P(ConvKernelTest, GradientsWithoutAGraphAreTheSame) {
  const auto layout = at::MemoryFormat::ChannelsLast3d;
  for (const auto dtype : {torch::kFloat32, torch::kFloat64}) {
    const auto expected = results(layout, dtype);
    torch::manual_seed(8);
    const torch::Tensor arrives = torch::randn(expected[0].sizes(), torch::kFloat64).to(dtype);
    const auto with = leaves(layout, dtype);
    const ConvGradients found =
        convolution_gradients(arrives, with[0].detach(), with[1].detach(), GetParam().geometry,
                              {.bias = GetParam().bias});
    EXPECT_TRUE(torch::equal(found.input, expected[1]));
    EXPECT_TRUE(torch::equal(found.weight, expected[2]));
    EXPECT_EQ(found.bias.defined(), GetParam().bias);
    if (found.bias.defined()) {
      EXPECT_TRUE(torch::equal(found.bias, expected[3]));
    }
  }
}

TEST_P(ConvKernelTest, PackedWeightsAndAnActivationInTheKernelChangeNothing) {
  const auto layout = at::MemoryFormat::ChannelsLast3d;
  const auto with = leaves(layout, torch::kFloat32);
  const torch::Tensor bias = with.size() > 2 ? with[2] : torch::Tensor();
  PackedConvolution packed;
  const auto run_packed = [&](const torch::Tensor& input, std::optional<double> slope) {
    return packed.run(input, with[1], bias, GetParam().geometry, slope);
  };
  EXPECT_FALSE(run_packed(with[0], {}).defined()) << "there would be a graph";
  const torch::NoGradGuard no_graph;
  // The weights were packed for the first size; the second must be right with them, too.
  for (const torch::Tensor& input :
       {with[0], torch::cat({with[0], with[0], with[0]}, 4).to(layout)}) {
    const torch::Tensor expected = convolution(input, with[1], bias, GetParam().geometry);
    EXPECT_LT(relative_error(run_packed(input, {}), expected), 1e-6);
    EXPECT_LT(relative_error(run_packed(input, 0.01), torch::leaky_relu(expected, 0.01)), 1e-6);
  }
  with[1].set_data(torch::randn_like(with[1]));
  EXPECT_LT(relative_error(run_packed(with[0], {}),
                           convolution(with[0], with[1], bias, GetParam().geometry)),
            1e-6)
      << "other weights";
}

INSTANTIATE_TEST_SUITE_P(
    Convolutions, ConvKernelTest,
    ::testing::Values(KernelCase{"same", kSame, {1, 8, 12, 10, 14}, {6, 8, 3, 3, 3}},
                      KernelCase{"first", kHalf, {1, 1, 20, 16, 18}, {16, 1, 3, 3, 3}, false},
                      KernelCase{"strided", kHalf, {1, 8, 11, 10, 13}, {16, 8, 3, 3, 3}, false},
                      KernelCase{"point", kPoint, {1, 8, 6, 7, 8}, {4, 8, 1, 1, 1}},
                      KernelCase{"tiny", kSame, {1, 16, 2, 2, 2}, {16, 16, 3, 3, 3}},
                      KernelCase{"up", kUp, {1, 8, 5, 6, 7}, {8, 4, 2, 2, 2}},
                      KernelCase{"two_samples", kSame, {2, 8, 6, 6, 6}, {8, 8, 3, 3, 3}}),
    [](const auto& test) { return test.param.name; });

// One reordered copy serves all workers with the same weights; weights that lie in one piece of
// memory, as after reading a file, are not taken for each other.
TEST(PackedConvolutionTest, WorkersShareTheCopyOfTheSameWeightsOnly) {
  const torch::NoGradGuard no_graph;
  const torch::Tensor all = torch::randn({3, 8, 8, 3, 3, 3});
  const torch::Tensor input =
      torch::randn({1, 8, 9, 10, 11}).contiguous(at::MemoryFormat::ChannelsLast3d);
  std::vector<PackedConvolution> packed(6);
  std::vector<torch::Tensor> found(6);
  std::vector<std::thread> workers;
  for (std::size_t i = 0; i < packed.size(); ++i)
    workers.emplace_back([&, i] {
      const torch::NoGradGuard no_graph_here;
      const torch::Tensor own = input.narrow(2, 0, 4 + static_cast<std::int64_t>(i)).clone();
      found[i] = packed[i].run(own, all[static_cast<std::int64_t>(i % 3)], {}, kSame, {});
    });
  for (std::thread& worker : workers) worker.join();
  for (std::size_t i = 0; i < packed.size(); ++i) {
    const torch::Tensor own = input.narrow(2, 0, 4 + static_cast<std::int64_t>(i)).clone();
    const torch::Tensor& weight = all[static_cast<std::int64_t>(i % 3)];
    ASSERT_TRUE(found[i].defined());
    EXPECT_LT(relative_error(found[i], convolution(own, weight, {}, kSame)), 1e-6) << i;
  }
}

TEST(ConvolutionTest, AFrozenWeightIsLeftAlone) {
  const torch::Tensor input = torch::randn({1, 4, 6, 6, 6}).requires_grad_();
  const torch::Tensor weight = torch::randn({4, 4, 3, 3, 3});
  convolution(input, weight, {}, kSame).sum().backward();
  EXPECT_TRUE(input.grad().defined());
  EXPECT_FALSE(weight.grad().defined());
}

TEST(ConvolutionTest, WrongChannelsAreRefused) {
  EXPECT_THROW(convolution(torch::zeros({1, 3, 4, 4, 4}), torch::zeros({2, 4, 3, 3, 3}), {}, kSame),
               c10::Error);
}

}  // namespace
}  // namespace lamp
