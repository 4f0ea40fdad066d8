// Boundary loss (Kervadec et al. 2019): pulls a contour towards the reference by how far away each
// wrongly coloured voxel is, which helps where structures are tiny.
#pragma once

#include <torch/types.h>

#include "lamp/objective/loss_input.h"

namespace lamp {

// Mean over [N, C] of weights * (mean over the voxels that a scan showed of p_c phi_c), with p =
// softmax(logits) and phi_c the signed distance to the boundary of label c within those voxels, in
// voxels, negative inside (see signed_distance_voxels). A class that is absent from the sample, or
// not annotated, adds nothing. It may be negative, and it is a complement of an overlap term: alone
// it lets empty predictions be minima. The maps are computed on the CPU at each call, two passes
// for each sample and class. Scalar of compute_type(logits) with gradient.
torch::Tensor boundary_loss(const LossInput& input);

}  // namespace lamp
