// Two counted passes, one line through them for each link.
#include "lamp/inference/memory_estimate.h"

#include <c10/core/Allocator.h>
#include <c10/core/CachingDeviceAllocator.h>
#include <torch/torch.h>

#include <algorithm>
#include <cmath>

#include "lamp/base/memory_counter.h"
#include "lamp/inference/host_memory.h"
#include "lamp/inference/predictor.h"

namespace lamp {
namespace {

// Large enough that rounding of block sizes does not show, small enough to be quick.
constexpr std::int64_t kSmallSide = 32;

std::int64_t round_up(std::int64_t length, std::int64_t multiple) {
  return (length + multiple - 1) / multiple * multiple;
}

// Peak bytes above what was allocated before, link by link, for an input of D, H, W voxels.
std::vector<std::int64_t> peaks_per_link(const Network& network,
                                         const torch::TensorOptions& options,
                                         const std::array<std::int64_t, 3>& shape) {
  const c10::Device device = options.device();
  const std::int64_t before = allocated_bytes(device);
  torch::Tensor tensor =
      torch::zeros({1, network.config.in_channels, shape[0], shape[1], shape[2]}, options);
  tensor = tensor.to(layout_on(device));
  LocalSkips skips;
  std::vector<std::int64_t> peaks;
  for (std::size_t link = 0; link < network.chain->size(); ++link) {
    reset_peak_bytes(device);
    tensor = network.chain->run(std::move(tensor), link, link + 1, skips);
    peaks.push_back(peak_bytes(device) - before);
  }
  return peaks;
}

}  // namespace

ForwardMemory::ForwardMemory(const Network& network, c10::Device device, c10::ScalarType dtype)
    : multiple_(network.stride_multiple) {
  const torch::InferenceMode no_gradients;
  if (device.is_cpu()) count_cpu_memory();
  const auto options = torch::TensorOptions().device(device).dtype(dtype);
  const std::int64_t side = round_up(kSmallSide, multiple_);
  // The first pass of all also allocates what kernels keep for good.
  peaks_per_link(network, options, {multiple_, multiple_, multiple_});
  const auto small = peaks_per_link(network, options, {side, side, side});
  const auto large = peaks_per_link(network, options, {2 * side, side, side});
  const auto voxels = static_cast<double>(side * side * side);
  for (std::size_t i = 0; i < small.size(); ++i) {
    const double slope = std::max(static_cast<double>(large[i] - small[i]) / voxels, 0.0);
    links_.push_back({.fixed = static_cast<double>(small[i]) - slope * voxels, .slope = slope});
  }
}

std::int64_t ForwardMemory::bytes(const std::array<std::int64_t, 3>& size) const {
  double voxels = 1;
  for (const std::int64_t length : size) voxels *= static_cast<double>(round_up(length, multiple_));
  double most = 0;
  for (const Line& line : links_) most = std::max(most, line.fixed + line.slope * voxels);
  return static_cast<std::int64_t>(std::ceil(most));
}

std::int64_t parameter_bytes(const Network& network) {
  std::int64_t bytes = 0;
  for (const auto& tensor : network.chain->parameters())
    bytes += static_cast<std::int64_t>(tensor.nbytes());
  for (const auto& tensor : network.chain->buffers())
    bytes += static_cast<std::int64_t>(tensor.nbytes());
  return bytes;
}

std::int64_t estimate_inference_bytes(const Network& network,
                                      const std::array<std::int64_t, 3>& size) {
  const c10::Device device = network.chain->parameters().front().device();
  const ForwardMemory forward(network, device, torch::kFloat32);
  const std::int64_t image = network.config.in_channels * size[0] * size[1] * size[2] * 4;
  return parameter_bytes(network) + image + forward.bytes(size);
}

std::int64_t available_bytes(c10::Device device) {
  if (device.is_cpu()) return available_memory_bytes();
  auto* allocator = dynamic_cast<c10::DeviceAllocator*>(c10::GetAllocator(device.type()));
  TORCH_CHECK(allocator != nullptr, "no memory information on ", device);
  return static_cast<std::int64_t>(allocator->getMemoryInfo(device.index()).first);
}

}  // namespace lamp
