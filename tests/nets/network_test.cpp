// Sizes that the strides do not divide, weights from a seed, and configurations that no network
// has.
#include "lamp/nets/network.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/types.h>
#include <torch/utils.h>

#include "lamp/base/errors.h"
#include "lamp/nets/net_factory.h"

namespace lamp {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

Network small_network(const std::string& name = "unet") {
  return make_network({.name = name, .width = 2, .depth = 2, .classes = 3});
}

std::string config_refusal(const std::string& json) {
  try {
    parse_net_config(parse_json(json, "test"));
  } catch (const UsageError& error) {
    return error.what();
  }
  return "accepted";
}

TEST(NetworkTest, KeepsAnyInputSize) {
  const torch::NoGradGuard no_grad;
  for (const auto& name : network_names()) {
    const Network network = small_network(name);
    network.chain->eval();
    for (const auto& size : {std::vector<std::int64_t>{1, 1, 1}, {5, 8, 9}, {8, 8, 8}}) {
      const torch::Tensor output = network.forward(torch::randn({1, 1, size[0], size[1], size[2]}));
      EXPECT_EQ(output.sizes(), (std::vector<std::int64_t>{1, 3, size[0], size[1], size[2]}))
          << name;
    }
  }
}

TEST(NetworkTest, PadsAtTheHighEndByRepeatingTheLastSlices) {
  const Network network = small_network();
  const torch::Tensor input = torch::randn({1, 1, 5, 8, 7});
  const torch::Tensor padded = network.pad(input);
  EXPECT_EQ(padded.sizes(), (std::vector<std::int64_t>{1, 1, 8, 8, 8}));
  EXPECT_TRUE(torch::equal(network.crop(padded, input), input));
  EXPECT_TRUE(torch::equal(padded.select(2, 7), padded.select(2, 4)));
  EXPECT_TRUE(torch::equal(padded.select(4, 7), padded.select(4, 6)));
}

TEST(NetworkTest, LeavesAFittingInputAlone) {
  const torch::Tensor input = torch::randn({1, 1, 8, 16, 8});
  EXPECT_TRUE(small_network().pad(input).is_same(input));
}

TEST(NetworkTest, RefusesAnotherShape) {
  EXPECT_THROW(small_network().forward(torch::randn({1, 2, 8, 8, 8})), c10::Error);
  EXPECT_THROW(small_network().forward(torch::randn({1, 8, 8, 8})), c10::Error);
}

TEST(NetworkTest, RefusesToTrainOnASingleValuePerChannel) {
  const Network network = small_network();
  try {
    network.forward(torch::randn({1, 1, 7, 8, 8}));
    FAIL() << "batch norm saw one value";
  } catch (const UsageError& error) {
    EXPECT_THAT(error.what(), AllOf(HasSubstr("8 x 8 x 8"), HasSubstr("batch of 2")));
  }
  EXPECT_NO_THROW(network.forward(torch::randn({2, 1, 7, 8, 8})));
  network.chain->eval();
  EXPECT_NO_THROW(network.forward(torch::randn({1, 1, 7, 8, 8})));
}

TEST(NetworkTest, TheSameSeedGivesTheSameWeightsAndTouchesNoOtherGenerator) {
  Network a = small_network("seunet");
  Network b = small_network("seunet");
  torch::manual_seed(9);
  const torch::Tensor next = torch::rand(4);
  torch::manual_seed(9);
  a.initialise(7);
  EXPECT_TRUE(torch::equal(torch::rand(4), next));
  b.initialise(7);
  const auto first = a.chain->parameters();
  const auto second = b.chain->parameters();
  for (std::size_t i = 0; i < first.size(); ++i) EXPECT_TRUE(torch::equal(first[i], second[i]));
  b.initialise(8);
  EXPECT_FALSE(torch::equal(first[0], second[0]));
}

TEST(NetworkTest, InitialisesAsKaimingNormalSays) {
  Network network = make_network({.width = 32, .depth = 1, .classes = 10});
  const auto buffers = network.chain->named_buffers();
  buffers["encoder_0_Conv_adn_N.running_mean"].fill_(3);
  network.initialise(1);
  const auto parameters = network.chain->named_parameters();
  const torch::Tensor conv = parameters["encoder_1_Down.conv.1.conv.weight"];
  EXPECT_NEAR(conv.std().item<double>(), std::sqrt(2.0 / (27 * 64)), 1e-3);
  EXPECT_NEAR(conv.mean().item<double>(), 0, 1e-3);
  const torch::Tensor up = parameters["decoder_0_Up_deconv.weight"];  // [64, 32, 2, 2, 2]
  EXPECT_NEAR(up.std().item<double>(), std::sqrt(2.0 / (8 * 32)), 1e-2);
  EXPECT_LE(parameters["decoder_1_out.bias"].abs().max().item<double>(), 1 / std::sqrt(27 * 16.0));
  EXPECT_TRUE(parameters["encoder_0_Conv_adn_N.weight"].eq(1).all().item<bool>());
  EXPECT_TRUE(parameters["encoder_0_Conv_adn_N.bias"].eq(0).all().item<bool>());
  EXPECT_TRUE(buffers["encoder_0_Conv_adn_N.running_mean"].eq(0).all().item<bool>());
}

TEST(NetConfigTest, SurvivesARoundTrip) {
  const NetConfig config{.name = "seunet", .width = 8, .depth = 3, .in_channels = 2, .classes = 5};
  EXPECT_EQ(to_json(parse_net_config(to_json(config))), to_json(config));
  const Network anatomy = make_network({.name = "anatomynet"});
  EXPECT_EQ(to_json(parse_net_config(to_json(anatomy.config))), to_json(anatomy.config));
}

TEST(NetConfigTest, NothingGivenMeansTheDefaults) {
  EXPECT_EQ(to_json(parse_net_config(Json())), to_json(NetConfig{}));
}

TEST(NetConfigTest, RefusesWhatNoNetworkHas) {
  EXPECT_THAT(config_refusal(R"({"name": "unett"})"), HasSubstr("nearest is \"unet\""));
  EXPECT_THAT(config_refusal(R"({"name": "transformer"})"),
              AllOf(HasSubstr("unet, seunet, anatomynet"), ::testing::Not(HasSubstr("nearest"))));
  EXPECT_THAT(config_refusal(R"({"wdith": 3})"), HasSubstr("\"width\""));
  EXPECT_THAT(config_refusal(R"({"width": "wide"})"), HasSubstr("net.width"));
  EXPECT_THAT(config_refusal(R"({"width": 0})"),
              HasSubstr("net.width: found 0, expected 1 to 1024"));
  EXPECT_THAT(config_refusal(R"({"depth": -1})"), HasSubstr("net.depth"));
  EXPECT_THAT(config_refusal(R"({"depth": 60})"), HasSubstr("net.depth"));
  EXPECT_THAT(config_refusal(R"({"classes": 1})"), HasSubstr("net.classes"));
  EXPECT_THAT(config_refusal(R"({"in_channels": 0})"), HasSubstr("net.in_channels"));
  EXPECT_THAT(config_refusal(R"({"name": "anatomynet", "width": 64})"),
              HasSubstr("leave both out"));
  EXPECT_THAT(config_refusal("[1]"), HasSubstr("object"));
}

TEST(NetConfigTest, MakeNetworkRefusesTheSame) {
  EXPECT_THROW(make_network({.name = "vnet"}), UsageError);
  EXPECT_THROW(make_network({.width = -4}), UsageError);
  EXPECT_THROW(make_network({.classes = 1}), UsageError);
}

}  // namespace
}  // namespace lamp
