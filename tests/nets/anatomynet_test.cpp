// AnatomyNet against the published one.
#include "lamp/nets/anatomynet.h"

#include <gtest/gtest.h>
#include <torch/types.h>
#include <torch/utils.h>

#include <filesystem>

#include "lamp/nets/model_file.h"
#include "lamp/nets/net_factory.h"
#include "support/relative_error.h"

namespace lamp {
namespace {

using lamp::testing::relative_error;
using lamp::testing::scientific;

class AnatomyNetTest : public ::testing::Test {
 protected:
  void SetUp() override {
    const std::filesystem::path file =
        std::filesystem::path(LAMP_TEST_DATA) / "anatomynet.safetensors";
    reference_ = read_safetensors(file);
    network_ = make_network({.name = "anatomynet", .classes = 10});
    load_weights(network_, reference_, file);
  }
  torch::Tensor probabilities() const {
    const torch::NoGradGuard no_grad;
    return torch::softmax(network_.forward(reference_.tensors.at("input")), 1);
  }

  SafeTensors reference_;
  Network network_;
};

TEST_F(AnatomyNetTest, HasThePublishedNumberOfParameters) {
  EXPECT_EQ(parameter_count(network_), 734'417);
}

TEST_F(AnatomyNetTest, GivesThePublishedProbabilitiesInEvaluation) {
  network_.chain->eval();
  const double error = relative_error(probabilities(), reference_.tensors.at("probabilities_eval"));
  RecordProperty("error", scientific(error));
  EXPECT_LT(error, 1e-4);
}

TEST_F(AnatomyNetTest, GivesThePublishedProbabilitiesInTraining) {
  network_.chain->train();
  const double error =
      relative_error(probabilities(), reference_.tensors.at("probabilities_train"));
  RecordProperty("error", scientific(error));
  EXPECT_LT(error, 1e-4);
}

TEST_F(AnatomyNetTest, KeepsItsOwnSizeWhateverIsAskedOfOthers) {
  EXPECT_EQ(network_.config.width, 28);
  EXPECT_EQ(network_.config.depth, 1);
  EXPECT_EQ(network_.stride_multiple, 2);
}

TEST_F(AnatomyNetTest, TakesSeveralChannelsAndOddSizes) {
  const torch::NoGradGuard no_grad;
  const Network network = make_network({.name = "anatomynet", .in_channels = 2, .classes = 3});
  network.chain->eval();
  const torch::Tensor logits = network.forward(torch::randn({1, 2, 7, 6, 5}));
  EXPECT_EQ(logits.sizes(), (std::vector<std::int64_t>{1, 3, 7, 6, 5}));
}

}  // namespace
}  // namespace lamp
