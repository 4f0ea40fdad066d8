// Two counted passes, one line through their workspaces for each link.
#include "lamp/inference/memory_estimate.h"

#include <c10/core/Allocator.h>
#include <c10/core/CachingDeviceAllocator.h>
#include <torch/types.h>
#include <torch/utils.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "lamp/base/host_memory.h"
#include "lamp/base/memory_counter.h"
#include "lamp/planner/forward_pass.h"
#include "lamp/profile/measured_forward.h"

namespace lamp {
namespace {

// Large enough that rounding of block sizes does not show, small enough to be quick.
constexpr std::int64_t kSmallSide = 32;
constexpr std::int64_t kLongestMeasured = 160;
// torch's own threshold for oneDNN (ConvParams::use_mkldnn in
// aten/src/ATen/native/Convolution.cpp).
constexpr double kIm2colLimit = 20480;

std::int64_t round_up(std::int64_t length, std::int64_t multiple) {
  return (length + multiple - 1) / multiple * multiple;
}

// One pass over zeros of D, H, W voxels, ended as the predictor ends it: by a copy to float32.
MeasuredForward counted_pass(const Network& network, const torch::TensorOptions& options,
                             const Shape3& shape) {
  torch::Tensor input =
      torch::zeros({1, network.config.in_channels, shape[0], shape[1], shape[2]}, options);
  input = network.laid_out(input);
  MeasuredForward measured = measure_forward(*network.chain, std::move(input));
  NetworkCosts& costs = measured.costs;
  const std::int64_t last = costs.layers.back().output_bytes;
  const bool is_copied = options.dtype() != torch::kFloat32;
  const std::int64_t bytes =
      is_copied ? last * 4 / static_cast<std::int64_t>(options.dtype().itemsize()) : last;
  costs.layers.push_back({.name = "float32",
                          .output_bytes = bytes,
                          .forward_workspace_bytes = is_copied ? 0 : -bytes});
  measured.input_slices.push_back(0);  // no convolution
  return measured;
}

}  // namespace

std::int64_t ForwardMemory::Line::at(double voxels) const {
  return static_cast<std::int64_t>(std::ceil(fixed + slope * voxels));
}

struct ForwardMemory::TwoPasses {
  MeasuredForward once;   // side x side x length
  MeasuredForward twice;  // side x side x 2 length
  double voxels;          // of the first, and so the difference

  TwoPasses(const Network& network, const torch::TensorOptions& options, std::int64_t side,
            std::int64_t length)
      : voxels(static_cast<double>(side * side * length)) {
    // Checks of reduced-precision kernels and what kernels keep for good happen at the first pass.
    for (int pass = options.dtype() == torch::kFloat32 ? 1 : 0; pass < 2; ++pass) {
      once = counted_pass(network, options, {side, side, length});
      twice = counted_pass(network, options, {side, side, 2 * length});
    }
  }
  Line workspace(std::size_t link) const {
    const auto first = static_cast<double>(once.costs.layers[link].forward_workspace_bytes);
    const auto second = static_cast<double>(twice.costs.layers[link].forward_workspace_bytes);
    const double slope = (second - first) / voxels;
    return {.fixed = first - slope * voxels, .slope = slope};
  }
};

ForwardMemory::ForwardMemory(const Network& network, c10::Device device, c10::ScalarType dtype)
    : multiple_(network.stride_multiple) {
  const torch::InferenceMode no_gradients;
  if (device.is_cpu()) count_cpu_memory();
  const auto options = torch::TensorOptions().device(device).dtype(dtype);
  counted_pass(network, options, {multiple_, multiple_, multiple_});  // the kernels' first use
  const std::int64_t length = round_up(kSmallSide, multiple_);
  const TwoPasses small(network, options, length, length);
  unit_ = small.once.costs;
  unit_voxels_ = small.voxels;
  for (std::size_t i = 0; i < unit_.layers.size(); ++i) {
    const Line line = small.workspace(i);
    const double slice = static_cast<double>(small.once.input_slices[i]);
    workspaces_.push_back({.slice_share = slice / static_cast<double>(length * length),
                           .small = line,
                           .large = line});
  }
  if (device.is_cpu() && dtype == torch::kFloat32) measure_large(network, length);
}

// On volumes whose slices are large enough for every link to leave im2col, if that is affordable.
void ForwardMemory::measure_large(const Network& network, std::int64_t length) {
  double least_share = 1;
  for (const Workspace& link : workspaces_)
    if (link.slice_share > 0) least_share = std::min(least_share, link.slice_share);
  const auto enough = static_cast<std::int64_t>(std::sqrt(kIm2colLimit / least_share)) + 1;
  const std::int64_t side = round_up(std::min(enough, kLongestMeasured), multiple_);
  const TwoPasses large(network, torch::kFloat32, side, length);
  for (std::size_t i = 0; i < workspaces_.size(); ++i) workspaces_[i].large = large.workspace(i);
}

NetworkCosts ForwardMemory::costs_of(const Size3& size) const {
  const std::int64_t slice = round_up(size[1], multiple_) * round_up(size[2], multiple_);  // D x H
  const auto voxels = static_cast<double>(round_up(size[0], multiple_) * slice);
  const auto scaled = [&](std::int64_t bytes) {
    return static_cast<std::int64_t>(
        std::llround(static_cast<double>(bytes) * voxels / unit_voxels_));
  };
  NetworkCosts costs = unit_;
  costs.input_bytes = scaled(costs.input_bytes);
  for (SkipBytes& skip : costs.skips) skip.bytes = scaled(skip.bytes);
  for (std::size_t i = 0; i < costs.layers.size(); ++i) {
    LayerCosts& layer = costs.layers[i];
    layer.output_bytes = scaled(layer.output_bytes);
    const Workspace& workspace = workspaces_[i];
    const bool is_large = workspace.slice_share * static_cast<double>(slice) > kIm2colLimit;
    layer.forward_workspace_bytes = (is_large ? workspace.large : workspace.small).at(voxels);
  }
  return costs;
}

std::int64_t ForwardMemory::bytes(const Size3& size) const {
  return stage_bytes(size, {0, unit_.layers.size() - 1}, 0);
}

std::int64_t ForwardMemory::stage_bytes(const Size3& size, const StageRange& links,
                                        int waiting) const {
  StageRange range = links;
  if (range.last + 1 == unit_.layers.size()) ++range.last;  // it makes the copy to float32
  return prediction_peak_bytes(costs_of(size), range, waiting);
}

std::int64_t parameter_bytes(const Network& network) {
  std::int64_t bytes = 0;
  for (const auto& tensor : network.chain->parameters())
    bytes += static_cast<std::int64_t>(tensor.nbytes());
  for (const auto& tensor : network.chain->buffers())
    bytes += static_cast<std::int64_t>(tensor.nbytes());
  return bytes;
}

std::int64_t available_bytes(c10::Device device) {
  if (device.is_cpu()) return tensor_memory_bytes();
  auto* allocator = dynamic_cast<c10::DeviceAllocator*>(c10::GetAllocator(device.type()));
  TORCH_CHECK(allocator != nullptr, "no memory information on ", device);
  return static_cast<std::int64_t>(allocator->getMemoryInfo(device.index()).first);
}

}  // namespace lamp
