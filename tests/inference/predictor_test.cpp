// A placed network says what the network itself says, in every precision and layout.
#include "lamp/inference/predictor.h"

#include <gtest/gtest.h>
#include <torch/types.h>
#include <torch/utils.h>

#include <csignal>
#include <string>
#include <tuple>

#include "lamp/base/errors.h"
#include "lamp/nets/net_factory.h"
#include "support/devices.h"
#include "support/signals.h"

namespace lamp {
namespace {

const c10::Device kCpu(c10::kCPU);

Network random_network(const std::string& name) {
  Network network = make_network({.name = name, .width = 8, .depth = 2, .classes = 3});
  network.initialise(5);
  network.chain->eval();
  return network;
}

class PredictorTest : public ::testing::TestWithParam<std::tuple<const char*, std::string>> {};

TEST_P(PredictorTest, GivesTheNetworksLogits) {
  const auto& [name, where] = GetParam();
  if (const auto why = testing::reason_to_skip(where); !why.empty()) GTEST_SKIP() << why;
  const c10::Device device = parse_devices(where).front();
  const torch::NoGradGuard no_gradients;
  Network network = random_network(name);
  const torch::Tensor image = torch::rand({1, 1, 21, 16, 34});
  const torch::Tensor expected = network.forward(image);
  const double scale = expected.abs().max().item<double>();
  place_network(network, {.device = device});
  const torch::Tensor fp32 = make_predictor(network, device, torch::kFloat32)(image);
  EXPECT_EQ(fp32.device(), device);
  EXPECT_EQ(fp32.sizes(), expected.sizes());
  EXPECT_LT((fp32.cpu() - expected).abs().max().item<double>(),
            testing::tolerance_on(device, 1e-4, 1e-3) * scale);
  place_network(network, {.device = device, .dtype = torch::kBFloat16});
  const torch::Tensor bf16 = make_predictor(network, device, torch::kBFloat16)(image);
  EXPECT_EQ(bf16.scalar_type(), torch::kFloat32);
  EXPECT_LT((bf16.cpu() - expected).abs().mean().item<double>(), 0.02 * scale);
}

INSTANTIATE_TEST_SUITE_P(AllNetworks, PredictorTest,
                         ::testing::Combine(::testing::Values("unet", "seunet", "anatomynet"),
                                            ::testing::ValuesIn(testing::devices_to_test())));

TEST(PrecisionTest, BatchNormsKeepTheirFullPrecision) {
  Network network = random_network("unet");
  place_network(network, {.dtype = torch::kBFloat16});
  for (const auto& buffer : network.chain->named_buffers())
    EXPECT_NE(buffer.value().scalar_type(), torch::kBFloat16) << buffer.key();
}

TEST(PredictorInterruptTest, ASignalStopsAPassBetweenLinks) {
  Network network = random_network("unet");
  place_network(network, {});
  testing::send_signal(SIGTERM);
  EXPECT_THROW(make_predictor(network, kCpu, torch::kFloat32)(torch::rand({1, 1, 8, 8, 8})),
               Interrupted);
  testing::forget_signals();
}

}  // namespace
}  // namespace lamp
