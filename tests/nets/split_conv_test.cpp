// The two halves of a network's backward pass: first every input's gradient, then, whenever there
// is time, the weights'.
#include "lamp/nets/split_conv.h"

#include <gtest/gtest.h>
#include <torch/autograd.h>
#include <torch/types.h>
#include <torch/utils.h>

#include <set>

#include "lamp/nets/guarded_conv.h"
#include "lamp/nets/net_factory.h"
#include "support/gradient_check.h"

namespace lamp {
namespace {

// Impl addresses of the convolutions' weights and biases.
std::set<const void*> convolution_parameters(const Sequence& chain, std::size_t& convolutions) {
  std::set<const void*> found;
  for (const auto& module : chain.modules()) {
    if (!module->as<GuardedConv3d>() && !module->as<GuardedConvTranspose3d>()) continue;
    ++convolutions;
    for (const auto& parameter : module->parameters(/*recurse=*/false))
      found.insert(parameter.unsafeGetTensorImpl());
  }
  return found;
}

class SplitConvTest : public ::testing::TestWithParam<const char*> {
 protected:
  SplitConvTest()
      : network_(make_network({.name = GetParam(),
                               .width = GetParam() == std::string("anatomynet") ? 28 : 4,
                               .depth = GetParam() == std::string("anatomynet") ? 1 : 2,
                               .classes = 3})) {
    network_.initialise(3);
    network_.chain->to(torch::kFloat64);
    torch::manual_seed(4);
    input_ = torch::randn({2, 1, 8, 8, 8}, torch::kFloat64).requires_grad_();
  }
  void run_backward(const std::shared_ptr<WeightTasks>& tasks) {
    input_.mutable_grad().reset();
    RunContext context{.weight_tasks = tasks};
    const RunScope scope(context);
    network_.chain->forward(input_).square().mean().backward();
  }

  Network network_;
  torch::Tensor input_;
};

TEST_P(SplitConvTest, WeightGradientsComeWithTheTasksAndAreThoseOfOnePass) {
  run_backward(nullptr);
  const torch::Tensor input_gradient = input_.grad().clone();
  std::vector<torch::Tensor> expected;
  for (auto& parameter : network_.chain->parameters())
    expected.push_back(std::exchange(parameter.mutable_grad(), {}));

  std::size_t convolutions = 0;
  const auto late = convolution_parameters(*network_.chain, convolutions);
  const auto tasks = std::make_shared<WeightTasks>();
  run_backward(tasks);
  EXPECT_EQ(tasks->size(), convolutions);
  EXPECT_TRUE(torch::allclose(input_.grad(), input_gradient, 1e-12, 1e-15));
  for (const auto& parameter : network_.chain->parameters())
    EXPECT_EQ(parameter.grad().defined(), !late.contains(parameter.unsafeGetTensorImpl()));
  for (const auto& task : *tasks) task();
  const auto parameters = network_.chain->parameters();
  for (std::size_t i = 0; i < parameters.size(); ++i)
    EXPECT_TRUE(torch::allclose(parameters[i].grad(), expected[i], 1e-12, 1e-15)) << i;
}

TEST_P(SplitConvTest, AFrozenWeightGetsNoGradient) {
  torch::Tensor frozen;
  for (auto& [name, parameter] : network_.chain->named_parameters().pairs())
    if (parameter.dim() == 5 && !frozen.defined()) frozen = parameter;
  frozen.set_requires_grad(false);
  const auto tasks = std::make_shared<WeightTasks>();
  run_backward(tasks);
  for (const auto& task : *tasks) task();
  EXPECT_FALSE(frozen.grad().defined());
}

TEST(SplitConvolutionTest, BothHalvesAgreeWithDifferences) {
  torch::manual_seed(5);
  for (const bool transposed : {false, true}) {
    const ConvGeometry geometry{
        {2, 2, 2}, std::vector<std::int64_t>(3, transposed ? 0 : 1), transposed};
    const std::int64_t kernel = transposed ? 2 : 3;
    const auto options = torch::TensorOptions(torch::kFloat64).requires_grad(true);
    const torch::Tensor input = torch::randn({1, 2, 3, 4, 3}, options);
    const torch::Tensor weight = torch::randn({2, 2, kernel, kernel, kernel}, options);
    const torch::Tensor bias = torch::randn({2}, options);
    const auto tasks = std::make_shared<WeightTasks>();
    const torch::Tensor output = split_convolution(input, weight, bias, geometry, tasks);
    const torch::Tensor factor = torch::randn_like(output);
    (output * factor).sum().backward();
    for (const auto& task : *tasks) task();
    // gradient_error() asks autograd for all leaves at once, so it checks the unsplit function;
    // what the halves gave must equal what it checked.
    const auto plain = [&] { return (convolution(input, weight, bias, geometry) * factor).sum(); };
    EXPECT_LT(testing::gradient_error(plain, {input, weight, bias}), 1e-6);
    const auto expected = torch::autograd::grad({plain()}, {input, weight, bias});
    EXPECT_TRUE(torch::allclose(input.grad(), expected[0], 1e-12, 1e-14));
    EXPECT_TRUE(torch::allclose(weight.grad(), expected[1], 1e-12, 1e-14));
    EXPECT_TRUE(torch::allclose(bias.grad(), expected[2], 1e-12, 1e-14));
  }
}

INSTANTIATE_TEST_SUITE_P(Networks, SplitConvTest,
                         ::testing::Values("unet", "seunet", "anatomynet"));

}  // namespace
}  // namespace lamp
