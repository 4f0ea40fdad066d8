// Batch norm of volumes of which each worker holds a slab: statistics of the whole, found from
// those of the slabs, and a gradient that knows that they depend on every voxel.
#pragma once

#include <torch/types.h>

#include <memory>

#include "lamp/sequence/run_context.h"
#include "lamp/sequence/slab_group.h"

namespace lamp {

// Of the volumes of which `input` [N, C, D, H, W] is this slab of `run`, merged in slab order, in
// double. like: a tensor [C] of the dtype in which statistics are kept; may be undefined.
NormStatistics statistics_of_slabs(const torch::Tensor& input, const torch::Tensor& like,
                                   RunContext& run);

// (input - mean) / sqrt(deviation / count + eps) * weight + bias, weight and bias may be undefined.
// Backward is that of batch norm in training mode over all slabs.
torch::Tensor norm_on_slab(const torch::Tensor& input, const torch::Tensor& weight,
                           const torch::Tensor& bias, const NormStatistics& volume, double eps,
                           const std::shared_ptr<SlabGroup>& group);

}  // namespace lamp
