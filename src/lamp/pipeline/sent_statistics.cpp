// Of each: which norm, values a channel, channels, means, deviations. What merges them computes in
// fp64 anyway.
#include "lamp/pipeline/sent_statistics.h"

#include <algorithm>
#include <cstdint>

#include "lamp/base/errors.h"
#include "lamp/sequence/batch_norm.h"

namespace lamp {
namespace {

constexpr std::int64_t kHeadNumbers = 3;

std::vector<DeferrableBatchNorm3dImpl*> norms_of(const Sequence& chain) {
  std::vector<DeferrableBatchNorm3dImpl*> norms;
  for (const auto& module : chain.modules(/*include_self=*/false))
    if (auto* norm = module->as<DeferrableBatchNorm3dImpl>()) norms.push_back(norm);
  return norms;
}

torch::Tensor in_double(const torch::Tensor& tensor) {
  return tensor.detach().to(c10::kCPU, torch::kFloat64).contiguous();
}

}  // namespace

torch::Tensor statistics_tensor(const std::vector<NormStatistics>& statistics,
                                const Sequence& chain) {
  const auto norms = norms_of(chain);
  std::vector<torch::Tensor> parts;
  for (const NormStatistics& part : statistics) {
    const auto found = std::find_if(norms.begin(), norms.end(), [&](const auto* norm) {
      return static_cast<const void*>(norm) == part.norm;
    });
    TORCH_CHECK(found != norms.end(), "statistics of a norm that is not the chain's");
    parts.push_back(
        torch::tensor({static_cast<double>(found - norms.begin()), static_cast<double>(part.count),
                       static_cast<double>(part.mean.numel())},
                      torch::kFloat64));
    parts.push_back(in_double(part.mean));
    parts.push_back(in_double(part.deviation));
  }
  return parts.empty() ? torch::Tensor() : torch::cat(parts);
}

std::vector<NormStatistics> statistics_from(const torch::Tensor& tensor, const Sequence& chain) {
  std::vector<NormStatistics> statistics;
  if (!tensor.defined()) return statistics;
  const auto norms = norms_of(chain);
  const double* numbers = tensor.const_data_ptr<double>();
  for (std::int64_t at = 0; at < tensor.numel();) {
    const bool has_head = at + kHeadNumbers <= tensor.numel();
    const std::int64_t channels = has_head ? static_cast<std::int64_t>(numbers[at + 2]) : -1;
    const std::int64_t first = at + kHeadNumbers;
    if (channels < 0 || numbers[at] < 0 || numbers[at] >= static_cast<double>(norms.size()) ||
        channels > (tensor.numel() - first) / 2)
      throw Error("statistics of another network; give all processes the same program");
    DeferrableBatchNorm3dImpl* norm = norms[static_cast<std::size_t>(numbers[at])];
    const c10::Device device = norm->running_mean.device();
    statistics.push_back({.norm = norm,
                          .count = static_cast<std::int64_t>(numbers[at + 1]),
                          .mean = tensor.narrow(0, first, channels).to(device),
                          .deviation = tensor.narrow(0, first + channels, channels).to(device)});
    at = first + 2 * channels;
  }
  return statistics;
}

}  // namespace lamp
