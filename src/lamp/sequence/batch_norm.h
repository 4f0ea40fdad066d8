// Batch norm that can put off its running statistics until a whole mini-batch has been seen:
// micro-batches are normalised each on its own, as GPipe does, but the running mean and variance
// become those of the unsplit batch. Sums of deviations are merged (Chan, Golub, LeVeque 1979), not
// sums of squares, which cancel at large means.
#pragma once

#include <torch/nn/modules/batchnorm.h>

#include <vector>

#include "lamp/sequence/run_context.h"

namespace lamp {

// torch's BatchNorm3d, except that in training inside a RunScope with `statistics` it leaves them
// there.
class DeferrableBatchNorm3dImpl : public torch::nn::BatchNorm3dImpl {
 public:
  using torch::nn::BatchNorm3dImpl::BatchNorm3dImpl;
  torch::Tensor forward(const torch::Tensor& input);
  // One update of the running statistics by the merged ones: mean, and unbiased variance.
  void update(const std::vector<NormStatistics>& parts);
};
TORCH_MODULE(DeferrableBatchNorm3d);

// Updates every norm by its own entries, in the order of `statistics`.
void commit(const std::vector<NormStatistics>& statistics);

}  // namespace lamp
