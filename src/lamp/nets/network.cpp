// Padding to what the strides need, and the weights a training starts from.
#include "lamp/nets/network.h"

#include <ATen/CPUGeneratorImpl.h>
#include <torch/nn/modules/batchnorm.h>
#include <torch/nn/modules/conv.h>
#include <torch/nn/modules/linear.h>
#include <torch/utils.h>

#include <algorithm>
#include <cmath>

#include "lamp/base/beyond_scan.h"
#include "lamp/base/errors.h"
#include "lamp/base/text.h"

namespace lamp {
namespace {

constexpr std::int64_t kMostFilters = 1024;

// Drawn on the CPU, so that a network on a GPU starts from the same weights.
torch::Tensor normal(const torch::Tensor& like, double deviation, const at::Generator& generator) {
  return torch::empty(like.sizes(), torch::kFloat32).normal_(0, deviation, generator);
}

torch::Tensor uniform(const torch::Tensor& like, double bound, const at::Generator& generator) {
  return torch::empty(like.sizes(), torch::kFloat32).uniform_(-bound, bound, generator);
}

double fan_in(const torch::Tensor& weight) {
  return static_cast<double>(weight.numel()) / static_cast<double>(weight.size(0));
}

template <typename Conv>
void initialise_conv(Conv& conv, const at::Generator& generator) {
  const double fan = fan_in(conv.weight);
  conv.weight.copy_(normal(conv.weight, std::sqrt(2 / fan), generator));
  if (conv.bias.defined()) conv.bias.copy_(uniform(conv.bias, 1 / std::sqrt(fan), generator));
}

void initialise_module(torch::nn::Module& module, const at::Generator& generator) {
  if (auto* conv = module.as<torch::nn::Conv3d>()) {
    initialise_conv(*conv, generator);
  } else if (auto* up = module.as<torch::nn::ConvTranspose3d>()) {
    initialise_conv(*up, generator);
  } else if (auto* linear = module.as<torch::nn::Linear>()) {
    const double bound = 1 / std::sqrt(fan_in(linear->weight));
    linear->weight.copy_(uniform(linear->weight, bound, generator));
    linear->bias.copy_(uniform(linear->bias, bound, generator));
  } else if (auto* norm = module.as<torch::nn::BatchNorm3d>()) {
    norm->reset_running_stats();
    norm->weight.fill_(1);
    norm->bias.zero_();
  }
}

std::string shape_text(const torch::Tensor& tensor) {
  return c10::str(tensor.size(2), " x ", tensor.size(3), " x ", tensor.size(4));
}

}  // namespace

std::vector<std::int64_t> encoder_filters(const NetConfig& config) {
  std::vector<std::int64_t> filters = {std::min(config.width, kMostFilters)};
  for (std::int64_t i = 0; i < config.depth; ++i)
    filters.push_back(std::min(filters.back() * 2, kMostFilters));
  return filters;
}

torch::Tensor Network::pad(const torch::Tensor& input) const {
  TORCH_CHECK(input.dim() == 5 && input.size(1) == config.in_channels && input.numel() > 0,
              "the network takes [N, ", config.in_channels, ", D, H, W], found ", input.sizes());
  Shape3 size{};
  for (std::size_t axis = 0; axis < 3; ++axis) {
    const std::int64_t length = input.size(2 + static_cast<std::int64_t>(axis));
    size[axis] = (length + stride_multiple - 1) / stride_multiple * stride_multiple;
  }
  return extend_scan(input, size);
}

torch::Tensor Network::crop(const torch::Tensor& output, const torch::Tensor& input) const {
  return cropped(output, {input.size(2), input.size(3), input.size(4)});
}

torch::Tensor Network::crop_slab(const torch::Tensor& output, const torch::Tensor& input,
                                 std::int64_t axis, const PlaneRange& planes) const {
  Shape3 size = {input.size(2), input.size(3), input.size(4)};
  size[static_cast<std::size_t>(axis - 2)] = common(planes, {0, input.size(axis)}).count();
  return cropped(output, size);
}

torch::Tensor Network::cropped(const torch::Tensor& output, const Shape3& size) {
  torch::Tensor cropped = output;
  // Not where nothing is cut off: a narrowed tensor's gradient is a padded copy.
  for (std::size_t i = 0; i < 3; ++i) {
    const auto axis = static_cast<std::int64_t>(i) + 2;
    if (cropped.size(axis) != size[i]) cropped = cropped.narrow(axis, 0, size[i]);
  }
  // The gradient of a narrowed tensor is contiguous: the last layer would bring what it has saved,
  // which is larger by far, into that layout as well.
  if (!cropped.is_same(output) && output.requires_grad())
    output.register_hook([format = output.suggest_memory_format()](const torch::Tensor& gradient) {
      return gradient.contiguous(format);
    });
  return cropped;
}

torch::Tensor Network::prepare(const torch::Tensor& input) const {
  const torch::Tensor padded = pad(input);
  const std::int64_t voxels = padded.numel() / padded.size(1);
  if (chain->is_training() && voxels == stride_multiple * stride_multiple * stride_multiple) {
    throw UsageError(
        "training: one patch of " + shape_text(padded) +
        " leaves batch norm a single value at the lowest level; use a batch of 2 or more, a larger "
        "patch or a smaller depth");
  }
  return laid_out(padded);
}

// to(), not contiguous(): one channel counts as laid out either way, and torch would choose NCDHW
// wherever that channel is concatenated later.
torch::Tensor Network::laid_out(const torch::Tensor& input) const {
  return channels_last ? input.to(at::MemoryFormat::ChannelsLast3d) : input;
}

torch::Tensor Network::forward(const torch::Tensor& input) const {
  return crop(chain->forward(prepare(input)), input);
}

void Network::check_window(const std::string& what, const Size3& size) const {
  if (*std::min_element(size.begin(), size.end()) >= stride_multiple) return;
  const std::string least = std::to_string(stride_multiple);
  throw UsageError(what + ": found " + size_text(size) + ", smaller than the stride of " +
                   config.name + " of depth " + std::to_string(config.depth) + "; expected " +
                   least + " voxels or more along every axis");
}

void Network::use_channels_last() {
  const torch::NoGradGuard no_grad;
  for (auto& parameter : chain->parameters())
    if (parameter.dim() == 5)
      parameter.set_data(parameter.contiguous(at::MemoryFormat::ChannelsLast3d));
  channels_last = true;
}

std::map<std::string, torch::Tensor> Network::state() const {
  std::map<std::string, torch::Tensor> state;
  for (const auto& item : chain->named_parameters()) state[item.key()] = item.value();
  for (const auto& item : chain->named_buffers()) state[item.key()] = item.value();
  return state;
}

void Network::initialise(std::uint64_t seed) {
  const torch::NoGradGuard no_grad;
  const auto generator = at::make_generator<at::CPUGeneratorImpl>(seed);
  for (const auto& module : chain->modules(/*include_self=*/false))
    initialise_module(*module, generator);
}

std::int64_t parameter_count(const Network& network) {
  std::int64_t count = 0;
  for (const auto& parameter : network.chain->parameters()) count += parameter.numel();
  return count;
}

}  // namespace lamp
