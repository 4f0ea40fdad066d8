// Values and gradients of every loss: against the reference numbers, and against central
// differences.
#include "lamp/objective/losses.h"

#include <gtest/gtest.h>
#include <torch/autograd.h>
#include <torch/nn/functional.h>
#include <torch/types.h>
#include <torch/utils.h>

#include "lamp/base/safetensors.h"
#include "lamp/objective/anatomy_loss.h"
#include "lamp/objective/lamp_loss.h"
#include "support/devices.h"
#include "support/gradient_check.h"
#include "support/relative_error.h"

namespace lamp {
namespace {

using testing::gradient_error;
using testing::relative_error;

using Tensors = std::map<std::string, torch::Tensor>;

const std::vector<std::string> kNames = {"lamp",          "anatomynet",         "dice",
                                         "cross_entropy", "dice_cross_entropy", "dice_boundary"};

class LossDeviceTest : public testing::DeviceTest {
 protected:
  Tensors reference(const std::string& file) const {
    Tensors tensors = read_safetensors(std::string(LAMP_TEST_DATA) + "/" + file).tensors;
    for (auto& [name, tensor] : tensors) tensor = tensor.to(device());
    return tensors;
  }
};

std::unique_ptr<Loss> named_loss(const std::string& name, const torch::Tensor& class_weights) {
  return make_loss(parse_loss_config({{"name", name}}), class_weights);
}

// A batch of two samples, of which the second lacks class 2.
struct Batch {
  torch::Tensor logits, labels, flags, weights;
  explicit Batch(torch::ScalarType type = torch::kFloat64, std::int64_t classes = 4) {
    torch::manual_seed(6);
    logits = (torch::randn({2, classes, 3, 4, 5}, torch::kFloat64) * 2).to(type);
    labels = torch::randint(0, classes, {2, 3, 4, 5}).to(torch::kUInt8);
    labels[1].masked_fill_(labels[1].eq(2), 0);
    flags = annotation_flags({{}, {1, 3}}, static_cast<int>(classes));
    weights = torch::linspace(0.5, 2, classes);
  }
  Batch on(c10::Device device) const {
    Batch moved = *this;
    for (torch::Tensor* tensor : {&moved.logits, &moved.labels, &moved.flags, &moved.weights})
      *tensor = tensor->to(device);
    return moved;
  }
};

TEST_P(LossDeviceTest, LampEqualsTheReferenceNumbers) {
  Tensors data = reference("loss.safetensors");
  const torch::Tensor logits = data["logits"].requires_grad_();
  const LampTerms terms = lamp_terms(logits, data["label"]);
  EXPECT_LT(relative_error(terms.dice, data["lamp_dice"]), 1e-5);
  EXPECT_LT(relative_error(terms.focal, data["lamp_focal"]), 1e-5);
  const torch::Tensor loss =
      (*named_loss("lamp", data["class_weight"]))(logits, data["label"], data["flag"]);
  EXPECT_LT(relative_error(loss.reshape({1}), data["lamp_loss"]), 1e-5);
  loss.backward();
  EXPECT_LT(relative_error(logits.grad(), data["lamp_grad"]), 1e-5);
}

TEST_P(LossDeviceTest, LampEqualsTheReleasedNetworksLosses) {
  for (const std::string file : {"unet_w4_d4.safetensors", "unet_w8_d3.safetensors"}) {
    Tensors data = reference(file);
    const LampTerms terms = lamp_terms(data["logits_train"], data["label"]);
    EXPECT_LT(relative_error(terms.dice, data["dice_per_sample_class"]), 1e-5);
    EXPECT_LT(relative_error(terms.focal, data["focal_per_sample_class"]), 1e-5);
    const torch::Tensor loss = (*named_loss("lamp", data["class_weight"]))(
        data["logits_train"], data["label"], data["flag"]);
    EXPECT_LT(relative_error(loss.reshape({1}), data["loss"]), 1e-5);
  }
}

TEST_P(LossDeviceTest, AnatomyNetsEqualsTheReferenceNumbers) {
  Tensors data = reference("loss.safetensors");
  const torch::Tensor logits = data["logits"].requires_grad_();
  const AnatomyTerms terms =
      anatomy_terms({logits, data["label"], data["flag"] * data["class_weight"]});
  EXPECT_LT(relative_error(terms.tversky.reshape({1}), data["anatomy_tversky"]), 1e-5);
  EXPECT_LT(relative_error(terms.focal.reshape({1}), data["anatomy_focal"]), 1e-5);
  const torch::Tensor loss =
      (*named_loss("anatomynet", data["class_weight"]))(logits, data["label"], data["flag"]);
  EXPECT_LT(relative_error(loss.reshape({1}), data["anatomy_loss"]), 1e-5);
  loss.backward();
  EXPECT_LT(relative_error(logits.grad(), data["anatomy_grad"]), 1e-5);
}

TEST(LossTest, GradientsEqualCentralDifferences) {
  for (const std::string& name : kNames) {
    const Batch batch;
    const torch::Tensor logits = batch.logits.clone().requires_grad_();
    const auto loss = named_loss(name, batch.weights);
    const auto value = [&] { return 3 * (*loss)(logits, batch.labels, batch.flags); };
    EXPECT_LT(gradient_error(value, {logits}), 1e-6) << name;
  }
}

TEST_P(LossDeviceTest, BatchOfOneSampleAtATimeIsTheMeanWhereTheLossSaysSo) {
  for (const std::string& name : kNames) {
    const Batch batch = Batch().on(device());
    const auto loss = named_loss(name, batch.weights);
    const double whole = (*loss)(batch.logits, batch.labels, batch.flags).item<double>();
    double mean = 0;
    for (std::int64_t n = 0; n < 2; ++n)
      mean += (*loss)(batch.logits.narrow(0, n, 1), batch.labels.narrow(0, n, 1),
                      batch.flags.narrow(0, n, 1))
                  .item<double>() /
              2;
    EXPECT_EQ(std::abs(whole - mean) < tolerance(1e-12, 1e-9), loss->sum_over_samples()) << name;
  }
}

LAMP_TEST_ON_DEVICES(LossDeviceTest);

TEST(LossTest, UnannotatedClassesDoNotPullOnTheLogits) {
  for (const std::string name : {"dice", "lamp", "cross_entropy", "dice_boundary"}) {
    const Batch batch;
    const torch::Tensor logits = batch.logits.clone().requires_grad_();
    const auto loss = named_loss(name, batch.weights);
    torch::Tensor other = batch.labels.clone();
    other[1].masked_fill_(batch.labels[1].eq(0), 2);  // what lies under the missing classes
    const auto gradient = [&](const torch::Tensor& labels) {
      return torch::autograd::grad({(*loss)(logits, labels, batch.flags)}, {logits})[0];
    };
    EXPECT_TRUE(torch::allclose(gradient(batch.labels), gradient(other), 1e-12, 1e-14)) << name;
  }
}

TEST(LossTest, SamplesWithoutAnyAnnotationHaveNoGradient) {
  for (const std::string& name : kNames) {
    const Batch batch;
    const torch::Tensor logits = batch.logits.clone().requires_grad_();
    const torch::Tensor loss =
        (*named_loss(name, batch.weights))(logits, batch.labels, torch::zeros_like(batch.flags));
    loss.backward();
    EXPECT_EQ(logits.grad().abs().max().item<double>(), 0) << name;
  }
}

TEST(LossTest, CrossEntropyEqualsTorchsWithUniformWeights) {
  const Batch batch;
  const auto found = (*named_loss("cross_entropy", torch::ones({4})))(
      batch.logits, batch.labels, torch::ones_like(batch.flags));
  EXPECT_LT(relative_error(found, torch::nn::functional::cross_entropy(
                                      batch.logits, batch.labels.to(torch::kInt64))),
            1e-12);
}

TEST(LossTest, BoundaryTermFallsAsTheContourComesCloser) {
  const auto loss =
      make_loss({.dice = "none", .focal_weight = 0, .boundary_weight = 1}, torch::ones({2}));
  const auto at = [&](std::int64_t shift) {
    torch::Tensor labels = torch::zeros({1, 12, 12, 12}, torch::kUInt8);
    labels.slice(1, 2, 7).slice(2, 2, 7).slice(3, 2, 7) = 1;
    const torch::Tensor found = torch::roll(labels, shift, 1).to(torch::kFloat32);
    return (*loss)(torch::stack({1 - found, found}, 1) * 20, labels, torch::ones({1, 2}))
        .item<double>();
  };
  EXPECT_LT(at(0), at(1));
  EXPECT_LT(at(1), at(3));
}

TEST(LossTest, HalfPrecisionLogitsAreComputedInFloat) {
  for (const auto type : {torch::kBFloat16, torch::kFloat16}) {
    for (const std::string& name : kNames) {
      const Batch batch(type);
      const torch::Tensor logits = batch.logits.clone().requires_grad_();
      const torch::Tensor exact = batch.logits.to(torch::kFloat32).requires_grad_();
      const auto loss = named_loss(name, batch.weights);
      const torch::Tensor value = (*loss)(logits, batch.labels, batch.flags);
      const torch::Tensor expected = (*loss)(exact, batch.labels, batch.flags);
      EXPECT_EQ(value.scalar_type(), torch::kFloat32);
      EXPECT_LT(relative_error(value, expected), 1e-6) << name;
      value.backward();
      expected.backward();
      EXPECT_EQ(logits.grad().scalar_type(), type);
      EXPECT_LT(relative_error(logits.grad(), exact.grad()), 0.01) << name;
    }
  }
}

TEST(LossTest, MemoryLayoutAndLabelTypeDoNotMatter) {
  for (const std::string& name : kNames) {
    const Batch batch;
    const auto loss = named_loss(name, batch.weights);
    const auto gradient = [&](const torch::Tensor& values, torch::ScalarType type) {
      const torch::Tensor logits = values.detach().requires_grad_();
      return torch::autograd::grad({(*loss)(logits, batch.labels.to(type), batch.flags)},
                                   {logits})[0];
    };
    const torch::Tensor expected = gradient(batch.logits.clone(), torch::kUInt8);
    const auto turned = batch.logits.clone(torch::MemoryFormat::ChannelsLast3d);
    EXPECT_LT(relative_error(gradient(turned, torch::kInt16), expected), 1e-12) << name;
    const auto cut = torch::constant_pad_nd(batch.logits, {1, 1, 1, 1, 1, 1})
                         .slice(2, 1, -1)
                         .slice(3, 1, -1)
                         .slice(4, 1, -1);
    EXPECT_LT(relative_error(gradient(cut, torch::kInt64), expected), 1e-12) << name;
  }
}

TEST(LossTest, StaysFiniteForCertainAndWrongLogits) {
  for (const std::string& name : kNames) {
    const Batch batch(torch::kFloat32);
    const torch::Tensor logits = (batch.logits.clone() * 1e4).requires_grad_();
    const torch::Tensor value =
        (*named_loss(name, batch.weights))(logits, batch.labels, batch.flags);
    value.backward();
    EXPECT_TRUE(value.isfinite().item<bool>()) << name;
    EXPECT_TRUE(logits.grad().isfinite().all().item<bool>()) << name;
  }
}

TEST(LossTest, RefusesLabelsOutsideTheClasses) {
  const Batch batch;
  const auto loss = named_loss("lamp", batch.weights);
  for (const int value : {4, 255, -2}) {  // -1 is kNoScan
    torch::Tensor labels = batch.labels.to(torch::kInt16);
    labels[1][2][3][4] = value;
    EXPECT_THROW((*loss)(batch.logits, labels, batch.flags), c10::Error) << value;
  }
  EXPECT_THROW((*loss)(batch.logits, batch.labels.narrow(3, 0, 4), batch.flags), c10::Error);
  EXPECT_THROW((*named_loss("lamp", torch::ones({3})))(batch.logits, batch.labels, batch.flags),
               c10::Error);
}

}  // namespace
}  // namespace lamp
