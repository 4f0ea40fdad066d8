// What every term of the loss is computed from.
#pragma once

#include <torch/types.h>

namespace lamp {

struct LossInput {
  torch::Tensor logits;   // [N, C, D, H, W]
  torch::Tensor labels;   // [N, D, H, W] integers in [0, C)
  torch::Tensor weights;  // [N, C], class weight where annotated, else 0; of compute_type(logits)
};

// Double for double logits (gradient checks), else float32.
inline torch::ScalarType compute_type(const torch::Tensor& logits) {
  return logits.scalar_type() == torch::kFloat64 ? torch::kFloat64 : torch::kFloat32;
}

// Throws (TORCH_CHECK) for shapes that do not belong together and for label values outside [0, C).
void check_loss_input(const torch::Tensor& logits, const torch::Tensor& labels);

// Where the label is `c`, as a factor.
inline torch::Tensor indicator(const torch::Tensor& labels, std::int64_t c,
                               torch::ScalarType type) {
  return labels.eq(c).to(type);
}

}  // namespace lamp
