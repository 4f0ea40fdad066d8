// The blocks' gradients against differences in double, in-place activations included.
#include "lamp/nets/blocks.h"

#include <gtest/gtest.h>
#include <torch/types.h>
#include <torch/utils.h>

#include "lamp/sequence/run_context.h"
#include "support/gradient_check.h"

namespace lamp {
namespace {

using lamp::testing::gradient_error;

double block_gradient_error(const ResidualShape& shape, bool training) {
  torch::manual_seed(5);
  Links links;
  append_residual_block(links, "block", shape);
  Sequence chain(std::move(links));
  chain.to(torch::kFloat64);
  chain.train(training);
  const torch::Tensor input =
      torch::randn({2, shape.in, 4, 4, 2}, torch::kFloat64).requires_grad_();
  const torch::Tensor weight = torch::randn_like(chain.forward(input));
  std::vector<torch::Tensor> leaves = chain.parameters();
  leaves.push_back(input);
  return gradient_error([&] { return (chain.forward(input) * weight).sum(); }, leaves, 3);
}

TEST(BlocksTest, SqueezeAndExcitationGradientsAgreeWithDifferences) {
  torch::manual_seed(2);
  SqueezeExcitation layer(6, 2);
  layer->to(torch::kFloat64);
  const torch::Tensor input = torch::randn({2, 6, 2, 3, 2}, torch::kFloat64).requires_grad_();
  const torch::Tensor weight = torch::randn_like(input);
  std::vector<torch::Tensor> leaves = layer->parameters();
  leaves.push_back(input);
  EXPECT_LT(gradient_error([&] { return (layer->forward(input) * weight).sum(); }, leaves), 1e-7);
}

TEST(BlocksTest, ResidualGradientsAgreeWithDifferences) {
  for (const bool training : {true, false}) {
    EXPECT_LT(block_gradient_error({.in = 3, .out = 3, .squeezed = 1}, training), 1e-6);
    EXPECT_LT(block_gradient_error({.in = 2, .out = 4, .stride = 2, .squeezed = 2}, training),
              1e-6);
    EXPECT_LT(block_gradient_error({.in = 3, .out = 2, .shortcut_kernel = 3}, training), 1e-6);
  }
}

TEST(BlocksTest, NormWithInPlaceActivationGradientsAgreeWithDifferences) {
  torch::manual_seed(4);
  Sequence chain({norm_activation_link("norm", 2)});
  chain.to(torch::kFloat64);
  const torch::Tensor input = torch::randn({2, 2, 2, 2, 2}, torch::kFloat64).requires_grad_();
  const torch::Tensor weight = torch::randn_like(input);
  std::vector<torch::Tensor> leaves = chain.parameters();
  leaves.push_back(input);
  EXPECT_LT(gradient_error([&] { return (chain.forward(input) * weight).sum(); }, leaves), 1e-6);
}

// Of inputs and all parameters, for a layer made by `links`.
double links_gradient_error(Links links, const std::vector<std::int64_t>& size) {
  torch::manual_seed(3);
  Sequence chain(std::move(links));
  chain.to(torch::kFloat64);
  const torch::Tensor input = torch::randn(size, torch::kFloat64).requires_grad_();
  const torch::Tensor weight = torch::randn_like(chain.forward(input));
  std::vector<torch::Tensor> leaves = chain.parameters();
  leaves.push_back(input);
  return gradient_error([&] { return (chain.forward(input) * weight).sum(); }, leaves, 2);
}

TEST(BlocksTest, ConvolutionGradientsAgreeWithDifferences) {
  for (const ConvShape& shape :
       {ConvShape{.in = 2, .out = 3, .bias = true}, ConvShape{.in = 1, .out = 2, .stride = 2},
        ConvShape{.in = 3, .out = 2, .kernel = 1, .bias = true}})
    EXPECT_LT(links_gradient_error({conv_link("conv", shape)}, {1, shape.in, 4, 3, 5}), 1e-6);
}

TEST(BlocksTest, UpsamplingGradientsAgreeWithDifferences) {
  EXPECT_LT(links_gradient_error({upsampling_link("up", 3, 2)}, {1, 3, 2, 3, 2}), 1e-6);
}

TEST(BlocksTest, HeadAndConcatGradientsAgreeWithDifferences) {
  Links links = {stash_link("stash", "skip"), conv_link("conv", {.in = 2, .out = 2}),
                 concat_link("concat", "skip")};
  append_head(links, "up", "out", 4, 3);
  EXPECT_LT(links_gradient_error(std::move(links), {1, 2, 2, 3, 2}), 1e-6);
}

// Batch norm that leaves its statistics to the engine normalises as torch's does.
TEST(BlocksTest, DeferredNormGradientsAgreeWithDifferences) {
  std::vector<NormStatistics> statistics;
  RunContext context{.training = true, .statistics = &statistics};
  const RunScope scope(context);
  EXPECT_LT(links_gradient_error({norm_activation_link("norm", 3)}, {2, 3, 2, 3, 2}), 1e-6);
  EXPECT_FALSE(statistics.empty());
}

// A pipeline hands each stage a detached leaf, which must not be written to; and a stash shares its
// memory.
TEST(BlocksTest, NoLinkWritesIntoItsInput) {
  Links links;
  append_residual_block(links, "a", {.in = 2, .out = 2, .squeezed = 1});
  append_residual_block(links, "b", {.in = 2, .out = 3, .stride = 2});
  append_head(links, "up", "out", 3, 2);
  Sequence chain(std::move(links));
  LocalSkips skips;
  torch::Tensor x = torch::randn({2, 2, 4, 4, 4});
  for (std::size_t i = 0; i < chain.size(); ++i) {
    const torch::Tensor leaf = x.detach().requires_grad_();
    const torch::Tensor before = leaf.detach().clone();
    x = chain.run(leaf, i, i + 1, skips);
    EXPECT_TRUE(torch::equal(leaf, before)) << chain.names()[i];
  }
}

TEST(BlocksTest, SqueezeAndExcitationScalesWholeChannels) {
  SqueezeExcitation layer(3, 1);
  const torch::Tensor input = torch::rand({1, 3, 2, 2, 2}) + 1;
  const torch::Tensor scale = layer->forward(input) / input;
  EXPECT_TRUE(torch::allclose(scale, scale.mean({2, 3, 4}, true).expand_as(scale)));
  EXPECT_TRUE((scale > 0).all().item<bool>() && (scale < 1).all().item<bool>());
}

}  // namespace
}  // namespace lamp
