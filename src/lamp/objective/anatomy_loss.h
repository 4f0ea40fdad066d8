// AnatomyNet's loss: Tversky over the whole batch and focal loss, for the classes that every sample
// of the batch has annotated.
#pragma once

#include <torch/types.h>

#include "lamp/objective/loss_input.h"

namespace lamp {

// Sums over samples and the voxels that a scan showed (kNoScan is absent); p = softmax(logits), y =
// (label == c), v[c] = smallest weight of c in the batch:
//   tversky = sum_c v[c] (1 - TP / (TP + 0.5 FP + 0.5 FN + 1e-5)), soft TP = sum p y and so on
//   focal   = sum_c v[c] mean over samples and voxels of -(1 - p)^2 y log(clamp(p, 1e-6, 1))
// Scalars of compute_type(logits) with gradient.
struct AnatomyTerms {
  torch::Tensor tversky;
  torch::Tensor focal;
};

AnatomyTerms anatomy_terms(const LossInput& input);
torch::Tensor anatomy_loss(const LossInput& input, double focal_weight);

}  // namespace lamp
