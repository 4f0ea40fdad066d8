#include "lamp/nets/inference_form.h"

#include <gtest/gtest.h>
#include <torch/nn/modules/batchnorm.h>
#include <torch/types.h>
#include <torch/utils.h>

#include <algorithm>

#include "lamp/nets/net_factory.h"
#include "support/relative_error.h"

namespace lamp {
namespace {

NetConfig small_config(const std::string& name) {
  NetConfig config{.name = name, .width = 8, .depth = 2, .in_channels = 1, .classes = 4};
  if (name == "anatomynet")
    config = {.name = name, .width = 28, .depth = 1, .in_channels = 1, .classes = 4};
  return config;
}

// A network whose norms have seen data, so that folding them is not the identity.
Network used_network(const std::string& name) {
  Network network = make_network(small_config(name));
  network.initialise(3);
  network.chain->train();
  torch::manual_seed(1);
  const torch::NoGradGuard no_grad;
  for (int i = 0; i < 4; ++i) network.forward(torch::randn({2, 1, 16, 24, 16}) * 3 + 1);
  for (auto& item : network.chain->named_parameters())
    if (item.value().dim() == 1) item.value().add_(torch::rand_like(item.value()));
  network.chain->eval();
  return network;
}

class InferenceFormTest : public ::testing::TestWithParam<std::string> {};

TEST_P(InferenceFormTest, GivesTheSameLogitsWithFewerLinks) {
  const torch::NoGradGuard no_grad;
  const Network network = used_network(GetParam());
  const Network form = inference_form(network);
  EXPECT_LT(form.chain->size(), network.chain->size());
  torch::manual_seed(2);
  const torch::Tensor input = torch::randn({1, 1, 19, 22, 25});
  const torch::Tensor expected = network.forward(input);
  const torch::Tensor found = form.forward(input);
  EXPECT_LT((found - expected).abs().max().item<double>(),
            1e-4 * expected.abs().max().item<double>());
  EXPECT_GE(found.argmax(1).eq(expected.argmax(1)).to(torch::kFloat32).mean().item<double>(),
            0.999);
}

TEST_P(InferenceFormTest, HoldsNoBatchNormAnyMore) {
  for (const auto& module : inference_form(used_network(GetParam())).chain->modules())
    EXPECT_EQ(module->as<torch::nn::BatchNorm3d>(), nullptr);
}

// Both layouts are about as far from the network in double, whose kernels round otherwise.
TEST_P(InferenceFormTest, ChannelsLastChangesOnlyTheLayout) {
  const torch::NoGradGuard no_grad;
  Network network = used_network(GetParam());
  torch::manual_seed(2);
  const torch::Tensor input = torch::randn({1, 1, 16, 16, 24});
  const torch::Tensor first = network.forward(input);
  network.use_channels_last();
  const torch::Tensor last = network.forward(input);
  network.chain->to(torch::kFloat64);
  const torch::Tensor expected = network.forward(input.to(torch::kFloat64));
  const double rounding = testing::relative_error(first, expected);
  EXPECT_LT(rounding, 1e-4);
  EXPECT_LT(testing::relative_error(last, expected), std::max(2e-5, 3 * rounding));
}

// AnatomyNet's and SEU-Net's last norm of a block has no activation, but its convolution has: all
// three kinds are here.
INSTANTIATE_TEST_SUITE_P(Networks, InferenceFormTest,
                         ::testing::Values("unet", "seunet", "anatomynet"));

}  // namespace
}  // namespace lamp
