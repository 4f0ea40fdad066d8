// The bytes of a forward pass without gradients as one real pass counts them: what shapes do not
// tell are the workspaces of kernels.
#pragma once

#include <torch/types.h>

#include <cstdint>
#include <vector>

#include "lamp/planner/network_costs.h"
#include "lamp/sequence/sequence.h"

namespace lamp {

struct MeasuredForward {
  NetworkCosts costs;  // outputs, skips and workspaces, as forward_pass.h reads them; no seconds
  // Channels x depth x height of every link's input: torch's choice of a convolution goes by it.
  std::vector<std::int64_t> input_slices;
};

// `input` [N, C, D, H, W] is what the chain takes. No other thread may allocate tensors meanwhile.
MeasuredForward measure_forward(Sequence& chain, torch::Tensor input);

}  // namespace lamp
