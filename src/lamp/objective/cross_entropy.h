// Cross entropy, the plainest term of the loss and the one most used beside Dice.
#pragma once

#include <torch/types.h>

#include "lamp/objective/loss_input.h"

namespace lamp {

// Mean over samples of the mean, over the voxels that a scan showed (kNoScan is absent), of
// -weights[n, label] log p[label]: a voxel whose label's class is
// not annotated in its sample adds nothing, so a partly annotated sample weighs less instead of
// weighing its few known voxels more. With all classes annotated and weights of 1 it is torch's
// cross_entropy (torch divides by the sum of the weights instead of the voxels).
// Scalar of compute_type(logits) with gradient.
torch::Tensor cross_entropy_loss(const LossInput& input);

}  // namespace lamp
