// What every term of the loss is computed from.
#pragma once

#include <torch/types.h>

#include <algorithm>
#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

#include "lamp/base/beyond_scan.h"

namespace lamp {

// Where the logits are those of one slab of the volumes, a range of planes, and others hold the
// rest. The loss is that of the volumes all the same.
struct LossSlab {
  // The sum over all slabs of tensors of one shape, the same in each; every slab calls it in the
  // same order. Without a graph.
  std::function<torch::Tensor(const torch::Tensor&)> sum;
  torch::Tensor labels;     // [N, D, H, W] of the whole volumes
  int axis = 1;             // of `labels`: 1, 2 or 3
  std::int64_t first = 0;   // of the slab's planes
  std::int64_t planes = 0;  // 0 where the slab lies beyond the scan altogether
};

struct LossInput {
  torch::Tensor logits;   // [N, C, D, H, W]
  torch::Tensor labels;   // [N, D, H, W] integers in [0, C), or kNoScan
  torch::Tensor weights;  // [N, C], class weight where annotated, else 0; of compute_type(logits)
  const LossSlab* slab = nullptr;  // null = all planes are there

  // Labels of all planes, of one sample.
  torch::Tensor volume_labels(std::int64_t sample) const {
    return slab == nullptr ? labels[sample] : slab->labels[sample];
  }
};

// Sums over voxels that only then enter a formula: of the whole volumes, from those of the slab.
// What each slab makes of it is one and the same loss, so the gradient passes as it is.
torch::Tensor volume_sum(const LossInput& input, const torch::Tensor& part);

// Voxels of a sample's whole volume that a scan showed.
std::int64_t seen_count(const LossInput& input, std::int64_t sample);
// What a mean over so many voxels divides by: 1 where there is none, whose sum is 0.
inline double divisor(std::int64_t voxels) {
  return static_cast<double>(std::max<std::int64_t>(voxels, 1));
}

// Double for double logits (gradient checks), else float32.
inline torch::ScalarType compute_type(const torch::Tensor& logits) {
  return logits.scalar_type() == torch::kFloat64 ? torch::kFloat64 : torch::kFloat32;
}

// Throws (TORCH_CHECK) for shapes that do not belong together and for label values that are neither
// in [0, C) nor kNoScan. A slab may have no voxels.
void check_loss_input(const torch::Tensor& logits, const torch::Tensor& labels,
                      const LossSlab* slab = nullptr);

// The voxels of a sample that a scan showed: all that any term of the loss ever sees, so that the
// rest is absent from sums, means and gradients alike, whatever its logits hold.
struct SeenVoxels {
  torch::Tensor logits;                 // [C, v]
  torch::Tensor labels;                 // [v] int64
  std::optional<torch::Tensor> places;  // [v] int64 of the sample's voxels; none = all of them
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
