// Two counted passes, one line through them for each link.
#include "lamp/inference/memory_estimate.h"

#include <c10/core/Allocator.h>
#include <c10/core/CachingDeviceAllocator.h>
#include <torch/torch.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <string>
#include <utility>

#include "lamp/base/memory_counter.h"
#include "lamp/inference/host_memory.h"

namespace lamp {
namespace {

// Large enough that rounding of block sizes does not show, small enough to be quick.
constexpr std::int64_t kSmallSide = 32;
constexpr std::int64_t kLargestSide = 160;
// torch's own threshold for oneDNN (ConvParams::use_mkldnn in
// aten/src/ATen/native/Convolution.cpp).
constexpr double kIm2colLimit = 20480;

std::int64_t round_up(std::int64_t length, std::int64_t multiple) {
  return (length + multiple - 1) / multiple * multiple;
}

struct LinkPeak {
  double bytes;        // above what was allocated before
  double slice_share;  // channels * depth * height of the link's input / those of the volume
};

class MeasuredSkips : public LocalSkips {
 public:
  void stash(const std::string& name, torch::Tensor tensor) override {
    bytes[name] = static_cast<double>(tensor.nbytes());
    LocalSkips::stash(name, std::move(tensor));
  }
  std::map<std::string, double> bytes;
};

// One pass over zeros of D, H, W voxels.
std::vector<LinkPeak> peaks_per_link(const Network& network, const torch::TensorOptions& options,
                                     const std::array<std::int64_t, 3>& shape, LocalSkips& skips) {
  const c10::Device device = options.device();
  const std::int64_t before = allocated_bytes(device);
  torch::Tensor tensor =
      torch::zeros({1, network.config.in_channels, shape[0], shape[1], shape[2]}, options);
  tensor = network.laid_out(tensor);
  std::vector<LinkPeak> peaks;
  for (std::size_t link = 0; link < network.chain->size(); ++link) {
    const auto slice = static_cast<double>(tensor.size(1) * tensor.size(2) * tensor.size(3));
    reset_peak_bytes(device);
    tensor = network.chain->run(std::move(tensor), link, link + 1, skips);
    peaks.push_back({.bytes = static_cast<double>(peak_bytes(device) - before),
                     .slice_share = slice / static_cast<double>(shape[0] * shape[1])});
  }
  reset_peak_bytes(device);
  tensor = tensor.to(torch::kFloat32);  // as the predictor ends
  peaks.push_back({.bytes = static_cast<double>(peak_bytes(device) - before),
                   .slice_share = peaks.back().slice_share});
  return peaks;
}

std::vector<LinkPeak> peaks_per_link(const Network& network, const torch::TensorOptions& options,
                                     const std::array<std::int64_t, 3>& shape) {
  LocalSkips skips;
  return peaks_per_link(network, options, shape, skips);
}

struct TwoPasses {
  std::vector<LinkPeak> once;   // side x side x length
  std::vector<LinkPeak> twice;  // side x side x 2 length
  double voxels;                // of the first, and so the difference

  TwoPasses(const Network& network, const torch::TensorOptions& options, std::int64_t side,
            std::int64_t length)
      : voxels(static_cast<double>(side * side * length)) {
    // Checks of reduced-precision kernels and what kernels keep for good happen at the first pass.
    for (int pass = options.dtype() == torch::kFloat32 ? 1 : 0; pass < 2; ++pass) {
      once = peaks_per_link(network, options, {side, side, length});
      twice = peaks_per_link(network, options, {side, side, 2 * length});
    }
  }
  double slope(std::size_t link) const {
    return std::max((twice[link].bytes - once[link].bytes) / voxels, 0.0);
  }
  double fixed(std::size_t link) const { return once[link].bytes - slope(link) * voxels; }
};

}  // namespace

ForwardMemory::ForwardMemory(const Network& network, c10::Device device, c10::ScalarType dtype)
    : multiple_(network.stride_multiple) {
  const torch::InferenceMode no_gradients;
  if (device.is_cpu()) count_cpu_memory();
  const auto options = torch::TensorOptions().device(device).dtype(dtype);
  MeasuredSkips skips;  // the kernels' first use, too
  peaks_per_link(network, options, {multiple_, multiple_, multiple_}, skips);
  const auto voxels = static_cast<double>(multiple_ * multiple_ * multiple_);
  for (const Skip& skip : network.chain->skips())
    skips_.push_back({skip.from, skip.to, skips.bytes.at(skip.name) / voxels});
  const std::int64_t length = round_up(kSmallSide, multiple_);
  const TwoPasses small(network, options, length, length);
  for (std::size_t i = 0; i < small.once.size(); ++i) {
    const Line line{.fixed = small.fixed(i), .slope = small.slope(i)};
    links_.push_back({.slice_share = small.once[i].slice_share, .small = line, .large = line});
  }
  if (device.is_cpu() && dtype == torch::kFloat32) measure_large(network, length);
}

// On volumes whose slices are large enough for every link to leave im2col, if that is affordable.
void ForwardMemory::measure_large(const Network& network, std::int64_t length) {
  double least_share = 1;
  for (const LinkMemory& link : links_) least_share = std::min(least_share, link.slice_share);
  const auto enough = static_cast<std::int64_t>(std::sqrt(kIm2colLimit / least_share)) + 1;
  const std::int64_t side = round_up(std::min(enough, kLargestSide), multiple_);
  const TwoPasses large(network, torch::kFloat32, side, length);
  for (std::size_t i = 0; i < links_.size(); ++i)
    links_[i].large = {.fixed = large.fixed(i), .slope = large.slope(i)};
}

std::int64_t ForwardMemory::bytes(const std::array<std::int64_t, 3>& size) const {
  return stage_bytes(size, {0, links_.size()}, 0);
}

std::int64_t ForwardMemory::stage_bytes(const std::array<std::int64_t, 3>& size,
                                        const StageRange& links, int waiting) const {
  std::array<double, 3> padded{};
  for (std::size_t axis = 0; axis < 3; ++axis)
    padded[axis] = static_cast<double>(round_up(size[axis], multiple_));
  const double slice = padded[1] * padded[2];  // y, z: height and depth
  const double voxels = padded[0] * slice;
  const auto has = [&](std::size_t link) { return link >= links.first && link < links.last; };
  double most = 0;
  for (std::size_t l = links.first; l < links.last; ++l) {
    const bool is_large = links_[l].slice_share * slice > kIm2colLimit;
    double here = (is_large ? links_[l].large : links_[l].small).at(voxels);
    for (const SkipMemory& skip : skips_)
      if (!has(skip.from) && skip.from < l && l < skip.to) here -= skip.slope * voxels;
    most = std::max(most, here);
  }
  for (const SkipMemory& skip : skips_)
    if (has(skip.from) && !has(skip.to)) most += waiting * skip.slope * voxels;
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
