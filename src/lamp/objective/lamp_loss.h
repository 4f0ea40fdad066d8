// The paper's loss: per-sample soft Dice and focal loss. It is computed slab by slab with its own
// gradient, so that whole volumes with many classes need neither a one-hot label nor another tensor
// of the logits' size beyond the gradient itself.
#pragma once

#include <torch/types.h>

#include "lamp/objective/loss_input.h"

namespace lamp {

// Both [N, C], of compute_type(logits), without gradient. With p = softmax(logits), y = (label ==
// c), sums and means over the voxels that a scan showed (kNoScan is absent):
//   dice  = 1 - (2 sum p y + 1e-5) / (sum p + sum y + 1e-5)
//   focal = mean over the voxels of -(1 - p)^2 y log p
struct LampTerms {
  torch::Tensor dice;
  torch::Tensor focal;
};

LampTerms lamp_terms(const torch::Tensor& logits, const torch::Tensor& labels);

// Mean over [N, C] of weights * (dice_weight * dice + focal_weight * focal): the released loss for
// 1 and 0.5 (facts of section 3). Saves logits and labels for the backward pass and recomputes the
// rest. No second derivative.
torch::Tensor lamp_loss(const LossInput& input, double dice_weight, double focal_weight);

}  // namespace lamp
