// Chains of small layers with crossing and nested skips, and the plain run that a pipeline must
// equal: the same micro-batches one after another through one autograd graph each.
#pragma once

#include <torch/nn/modules/batchnorm.h>
#include <torch/nn/modules/conv.h>
#include <torch/types.h>
#include <torch/utils.h>

#include <algorithm>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "lamp/base/random.h"
#include "lamp/pipeline/microbatch.h"
#include "lamp/sequence/batch_norm.h"
#include "lamp/sequence/dropout.h"
#include "lamp/sequence/run_context.h"
#include "lamp/sequence/sequence.h"
#include "lamp/sequence/skip_layers.h"

namespace lamp::testing {

constexpr std::int64_t kChannels = 3;

// Pops a skip and adds it, twice over, so that its gradient is a sum.
class AddSkip : public Layer {
 public:
  explicit AddSkip(std::string name) : name_(std::move(name)) {}
  torch::Tensor forward(torch::Tensor input, SkipPort& skips) override {
    const torch::Tensor skip = skips.pop(name_);
    return input + skip * 0.5 + skip.tanh();
  }
  std::vector<std::string> pops() const override { return {name_}; }

 private:
  std::string name_;
};

struct ChainOptions {
  std::uint64_t seed = 0;
  int layers = 10;
  bool norms = true;
  bool dropout = false;
};

inline std::shared_ptr<Layer> random_layer(Random& random, const ChainOptions& options) {
  switch (random.below(5)) {
    case 0:
      return as_layer(
          torch::nn::Conv3d(torch::nn::Conv3dOptions(kChannels, kChannels, 3).padding(1)));
    case 1:
      if (options.norms)
        return as_layer(DeferrableBatchNorm3d(torch::nn::BatchNorm3dOptions(kChannels)),
                        [](torch::Tensor x) { return torch::leaky_relu_(x, 0.01); });
      [[fallthrough]];
    case 2:
      return as_layer([](torch::Tensor x) { return x.tanh(); });
    case 3:
      if (options.dropout) return std::make_shared<Dropout>(0.3);
      [[fallthrough]];
    default:
      return as_layer(torch::nn::Conv3d(torch::nn::Conv3dOptions(kChannels, kChannels, 1)));
  }
}

// Input and output [N, 3, 2, 3, 2], double. Skips open and close at random, nested and crossing.
inline std::shared_ptr<Sequence> random_chain(const ChainOptions& options) {
  Random random{options.seed, 77};
  torch::manual_seed(options.seed);
  std::vector<Link> links;
  std::vector<std::string> open;
  int skips = 0;
  const auto name = [&] { return "l" + std::to_string(links.size()); };
  for (int i = 0; i < options.layers; ++i) {
    links.push_back({name(), random_layer(random, options)});
    if (random.below(2) == 0) {
      open.push_back("s" + std::to_string(skips++));
      links.push_back({name(), std::make_shared<StashSkip>(open.back())});
    }
    if (!open.empty() && random.below(3) == 0) {
      const auto which = open.begin() + random.below(static_cast<std::int64_t>(open.size()));
      links.push_back({name(), random_layer(random, options)});
      links.push_back({name(), std::make_shared<AddSkip>(*which)});
      open.erase(which);
    }
  }
  links.push_back(
      {name(), as_layer(torch::nn::Conv3d(torch::nn::Conv3dOptions(kChannels, kChannels, 1)))});
  for (const std::string& skip : open) links.push_back({name(), std::make_shared<AddSkip>(skip)});
  auto chain = std::make_shared<Sequence>(std::move(links));
  chain->to(torch::kFloat64);
  return chain;
}

// For such a chain.
inline torch::Tensor random_batch(std::int64_t samples, std::uint64_t seed) {
  torch::manual_seed(seed + 1000);
  return torch::randn({samples, kChannels, 2, 3, 2}, torch::kFloat64).requires_grad_();
}

// A loss over samples.
inline torch::Tensor mean_square(const torch::Tensor& output, const MicroBatch&) {
  return output.square().flatten(1).sum(1).mean();
}

struct PlainResult {
  double loss = 0;
  torch::Tensor input_gradient;
};

// loss(output, part) is the mean over the part's samples.
template <typename LossOfPart>
PlainResult plain_step(Sequence& chain, const torch::Tensor& batch, int microbatches,
                       const LossOfPart& loss, std::uint64_t seed = 0, std::int64_t step = 0) {
  PlainResult result;
  std::vector<torch::Tensor> gradients;
  const auto parts = split_batch(batch.size(0), microbatches);
  for (std::size_t i = 0; i < parts.size(); ++i) {
    const torch::Tensor input =
        batch.detach().narrow(0, parts[i].first, parts[i].count).clone().requires_grad_();
    RunContext context{.seed = seed, .step = step, .microbatch = static_cast<int>(i)};
    const RunScope scope(context);
    const torch::Tensor value = loss(chain.forward(input), parts[i]);
    const double share = static_cast<double>(parts[i].count) / static_cast<double>(batch.size(0));
    value.backward(torch::full_like(value, share));
    result.loss += value.template item<double>() * share;
    gradients.push_back(input.grad());
  }
  result.input_gradient = gather(gradients);
  return result;
}

inline std::vector<torch::Tensor> take_gradients(Sequence& chain) {
  std::vector<torch::Tensor> gradients;
  for (auto& parameter : chain.parameters())
    gradients.push_back(std::exchange(parameter.mutable_grad(), {}));
  return gradients;
}

inline std::vector<torch::Tensor> copy_buffers(const Sequence& chain) {
  std::vector<torch::Tensor> copies;
  for (const auto& buffer : chain.buffers()) copies.push_back(buffer.clone());
  return copies;
}

inline void set_buffers(Sequence& chain, const std::vector<torch::Tensor>& values) {
  const auto buffers = chain.buffers();
  for (std::size_t i = 0; i < values.size(); ++i) buffers[i].copy_(values[i]);
}

// The largest difference of two lists in the same order, wherever their tensors lie; an undefined
// gradient counts as zero.
inline double difference(const std::vector<torch::Tensor>& a, const std::vector<torch::Tensor>& b) {
  double largest = a.size() == b.size() ? 0 : 1e300;
  for (std::size_t i = 0; i < std::min(a.size(), b.size()); ++i) {
    if (!a[i].defined() && !b[i].defined()) continue;
    const torch::Tensor left = a[i].defined() ? a[i] : torch::zeros_like(b[i]);
    const torch::Tensor right = b[i].defined() ? b[i] : torch::zeros_like(a[i]);
    const double worst = (left.cpu() - right.cpu()).abs().max().item().toDouble();
    largest = std::max(largest, worst == worst ? worst : 1e300);
  }
  return largest;
}

}  // namespace lamp::testing
