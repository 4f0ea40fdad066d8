// SEU-Net has no published weights: its size is checked against the description, its gradients
// against differences.
#include "lamp/nets/seunet.h"

#include <gtest/gtest.h>
#include <torch/types.h>
#include <torch/utils.h>

#include "lamp/nets/net_factory.h"
#include "support/gradient_check.h"

namespace lamp {
namespace {

// conv 3^3, conv 3^3, norms, squeeze-and-excitation, shortcut: straight from the description.
std::int64_t block_count(std::int64_t in, std::int64_t out) {
  const std::int64_t squeezed = std::max<std::int64_t>(1, out / 16);
  return 27 * in * out + 27 * out * out + 4 * out + 2 * out * squeezed + squeezed + out + in * out +
         2 * out;
}

TEST(SEUNetTest, HoldsTheParametersOfItsDescription) {
  const std::int64_t w = 32;
  std::int64_t expected = 27 * w + 2 * w;  // encoder 0
  for (std::int64_t c = w; c < 16 * w; c *= 2)
    expected += block_count(c, 2 * c) + (8 * 2 * c * c + c) + block_count(2 * c, c);
  expected += 8 * w * (w / 2) + w / 2 + 27 * (w / 2) * 10 + 10;  // head
  EXPECT_EQ(parameter_count(make_network({.name = "seunet", .width = w, .classes = 10})), expected);
}

TEST(SEUNetTest, KeepsTheSizeOfItsInput) {
  const torch::NoGradGuard no_grad;
  const Network network = make_network({.name = "seunet", .width = 2, .depth = 2, .classes = 3});
  network.chain->eval();
  EXPECT_EQ(network.forward(torch::randn({2, 1, 9, 16, 11})).sizes(),
            (std::vector<std::int64_t>{2, 3, 9, 16, 11}));
}

TEST(SEUNetTest, GradientsAgreeWithDifferences) {
  Network network = make_network({.name = "seunet", .width = 2, .depth = 1, .classes = 2});
  network.initialise(3);
  network.chain->to(torch::kFloat64);
  network.chain->eval();  // differences would see the running statistics move
  torch::manual_seed(1);
  const torch::Tensor input = torch::randn({2, 1, 4, 4, 4}, torch::kFloat64).requires_grad_();
  const torch::Tensor weight = torch::randn({2, 2, 4, 4, 4}, torch::kFloat64);
  std::vector<torch::Tensor> leaves = network.chain->parameters();
  leaves.push_back(input);
  const double error = lamp::testing::gradient_error(
      [&] { return (network.forward(input) * weight).sum(); }, leaves, /*stride=*/5);
  EXPECT_LT(error, 1e-6);
}

}  // namespace
}  // namespace lamp
