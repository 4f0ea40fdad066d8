// What every term of the loss is computed from.
#pragma once

#include <torch/types.h>

#include <algorithm>
#include <cstdint>
#include <optional>
#include <vector>

#include "lamp/base/beyond_scan.h"

namespace lamp {

struct LossInput {
  torch::Tensor logits;   // [N, C, D, H, W]
  torch::Tensor labels;   // [N, D, H, W] integers in [0, C), or kNoScan
  torch::Tensor weights;  // [N, C], class weight where annotated, else 0; of compute_type(logits)
};

// Double for double logits (gradient checks), else float32.
inline torch::ScalarType compute_type(const torch::Tensor& logits) {
  return logits.scalar_type() == torch::kFloat64 ? torch::kFloat64 : torch::kFloat32;
}

// Throws (TORCH_CHECK) for shapes that do not belong together and for label values that are neither
// in [0, C) nor kNoScan.
void check_loss_input(const torch::Tensor& logits, const torch::Tensor& labels);

// The voxels of a sample that a scan showed: all that any term of the loss ever sees, so that the
// rest is absent from sums, means and gradients alike, whatever its logits hold.
struct SeenVoxels {
  torch::Tensor logits;                 // [C, v]
  torch::Tensor labels;                 // [v] int64
  std::optional<torch::Tensor> places;  // [v] int64 of the sample's voxels; none = all of them

  // What a mean divides by; 1 where there is no voxel, whose sum is 0.
  double count() const { return static_cast<double>(std::max<std::int64_t>(labels.numel(), 1)); }
};

// logits [C, V] and labels [V] of one sample or a part of one. Differentiable.
SeenVoxels seen_voxels(const torch::Tensor& logits, const torch::Tensor& labels);
// Sample by sample.
std::vector<SeenVoxels> seen_by_sample(const LossInput& input);

// Where the label is `c`, as a factor.
inline torch::Tensor indicator(const torch::Tensor& labels, std::int64_t c,
                               torch::ScalarType type) {
  return labels.eq(c).to(type);
}

}  // namespace lamp
