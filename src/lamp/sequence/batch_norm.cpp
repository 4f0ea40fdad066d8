// Statistics come out of torch's own kernel: with momentum 1 it overwrites what it is given.
#include "lamp/sequence/batch_norm.h"

#include <torch/types.h>
#include <torch/utils.h>

#include <map>
#include <optional>

#include "lamp/sequence/shape_result.h"
#include "lamp/sequence/slab_norm.h"

namespace lamp {

torch::Tensor DeferrableBatchNorm3dImpl::forward(const torch::Tensor& input) {
  if (input.is_meta()) return shape_result(input, weight, input.sizes().vec());
  RunContext* run = RunContext::current();
  const bool by_batch = is_training() || !running_mean.defined();
  if (run != nullptr && run->slabs != nullptr && by_batch) return forward_on_slab(input, *run);
  if (run == nullptr || run->statistics == nullptr || !is_training() || !running_mean.defined())
    return BatchNorm3dImpl::forward(input);
  _check_input_dim(input);
  const std::int64_t count = input.numel() / input.size(1);
  TORCH_CHECK(count > 1, "batch norm in training needs more than one value a channel, found ",
              input.sizes());
  const torch::Tensor mean = torch::zeros_like(running_mean);
  const torch::Tensor variance = torch::ones_like(running_var);
  torch::Tensor output = torch::batch_norm(input, weight, bias, mean, variance, /*training=*/true,
                                           /*momentum=*/1, options.eps(), /*cudnn_enabled=*/true);
  run->statistics->push_back({.norm = this,
                              .count = count,
                              .mean = mean,
                              .deviation = variance * static_cast<double>(count - 1)});
  return output;
}

torch::Tensor DeferrableBatchNorm3dImpl::forward_on_slab(const torch::Tensor& input,
                                                         RunContext& run) {
  _check_input_dim(input);
  NormStatistics volume = statistics_of_slabs(input, running_mean, run);
  TORCH_CHECK(volume.count > 1,
              "batch norm in training needs more than one value a channel, found ", volume.count);
  volume.norm = this;
  torch::Tensor output = norm_on_slab(input, weight, bias, volume, options.eps(), run.slabs);
  if (run.slabs->rank() == 0 && running_mean.defined()) {
    if (run.statistics != nullptr)
      run.statistics->push_back(volume);
    else
      update({volume});
  }
  return output;
}

void DeferrableBatchNorm3dImpl::update(const std::vector<NormStatistics>& parts) {
  const torch::NoGradGuard no_gradients;
  const NormStatistics all = merged(parts);
  num_batches_tracked.add_(1);
  const double momentum = options.momentum().has_value() ? *options.momentum()
                                                         : 1.0 / num_batches_tracked.item<double>();
  running_mean.copy_((1 - momentum) * running_mean + momentum * all.mean);
  running_var.copy_((1 - momentum) * running_var +
                    momentum * (all.deviation / static_cast<double>(all.count - 1)));
}

NormStatistics merged(const std::vector<NormStatistics>& parts) {
  double count = 0;
  torch::Tensor mean, deviation;
  for (const NormStatistics& part : parts) {
    const auto more = static_cast<double>(part.count);
    const torch::Tensor part_mean = part.mean.to(torch::kFloat64);
    const torch::Tensor part_deviation = part.deviation.to(torch::kFloat64);
    if (count == 0) {
      mean = part_mean;
      deviation = part_deviation;
    } else {
      const torch::Tensor delta = part_mean - mean;
      mean = mean + delta * (more / (count + more));
      deviation = deviation + part_deviation + delta * delta * (count * more / (count + more));
    }
    count += more;
  }
  return {.norm = parts.front().norm,
          .count = static_cast<std::int64_t>(count),
          .mean = mean,
          .deviation = deviation};
}

void commit(const std::vector<NormStatistics>& statistics) {
  std::map<void*, std::vector<NormStatistics>> by_norm;
  for (const NormStatistics& part : statistics) by_norm[part.norm].push_back(part);
  for (const auto& [norm, parts] : by_norm)
    static_cast<DeferrableBatchNorm3dImpl*>(norm)->update(parts);
}

}  // namespace lamp
