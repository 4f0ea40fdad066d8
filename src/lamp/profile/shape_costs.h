// What every link of a chain would cost on a device that is not here, from shapes alone: the chain
// runs on torch's meta device, where tensors have sizes and no memory. Bytes follow from what the
// graph keeps; seconds from counted multiplications and bytes moved.
#pragma once

#include <cstdint>
#include <vector>

#include "lamp/planner/network_costs.h"
#include "lamp/sequence/sequence.h"

namespace lamp {

// What a device reaches, not what its data sheet says.
struct DeviceSpeed {
  double flops_per_s = 20e12;        // in convolutions
  double memory_bytes_per_s = 1e12;  // in layers that only move data
};

// Replaces what the chain's layers compute with by tensors of the same size without memory: from
// then on it can only be asked for shapes. Its parameters() stay as they were. Knows torch's
// convolutions, linear layers and batch norms.
void keep_shapes_only(Sequence& chain);

// Of a link: what its backward pass holds in copies of a convolution's weights, however small the
// volumes are. samples: of a micro-batch.
std::int64_t weight_copies_bytes(const Layer& layer, std::int64_t samples);

// chain: in training mode, after keep_shapes_only(). input: sizes of a prepared
// micro-batch, [n, C, D, H, W]. loss_voxels: of a sample, those that the loss sees once the padding
// is cut off; 0 = all. Of the workspaces of convolution kernels only the copies of weights are
// known, which count in wide networks.
NetworkCosts shape_costs(Sequence& chain, const std::vector<std::int64_t>& input,
                         const DeviceSpeed& speed, std::int64_t loss_voxels = 0);

}  // namespace lamp
