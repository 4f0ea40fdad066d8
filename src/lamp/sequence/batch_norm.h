// Batch norm that can put off its running statistics until a whole mini-batch has been seen:
// micro-batches are normalised each on its own, as GPipe does, but the running mean and variance
// become those of the unsplit batch. Sums of deviations are merged (Chan, Golub, LeVeque 1979), not
// sums of squares, which cancel at large means.
#pragma once

#include <torch/nn/modules/batchnorm.h>

#include <cstdint>
#include <optional>
#include <vector>

#include "lamp/sequence/plane_range.h"
#include "lamp/sequence/run_context.h"

namespace lamp {

// torch's BatchNorm3d, except that in training inside a RunScope with `statistics` it leaves them
// there, and inside one with `slabs` it takes its input for a slab of the volumes that it norms.
class DeferrableBatchNorm3dImpl : public torch::nn::BatchNorm3dImpl {
 public:
  using torch::nn::BatchNorm3dImpl::BatchNorm3dImpl;
  torch::Tensor forward(const torch::Tensor& input);
  std::optional<PlaneRule> plane_rule(std::int64_t) const { return PlaneRule{}; }
  // One update of the running statistics by the merged ones: mean, and unbiased variance.
  void update(const std::vector<NormStatistics>& parts);

 private:
  torch::Tensor forward_on_slab(const torch::Tensor& input, RunContext& run);
};
TORCH_MODULE(DeferrableBatchNorm3d);

// Of all parts together, in double; of one norm, at least one part.
NormStatistics merged(const std::vector<NormStatistics>& parts);

// Updates every norm by its own entries, in the order of `statistics`.
void commit(const std::vector<NormStatistics>& statistics);

}  // namespace lamp
