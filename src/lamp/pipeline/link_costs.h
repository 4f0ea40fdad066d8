// What each link of a chain costs on this machine, as numbers to cut by (partition_by_costs).
#pragma once

#include <torch/types.h>

#include <vector>

#include "lamp/sequence/sequence.h"

namespace lamp {

struct LinkCosts {
  std::vector<double> seconds;       // forward and backward, the best of the rounds
  std::vector<double> output_bytes;  // of what the link hands on
};

// Runs the chain link by link on `input` [N, ...], forward and backward, after one warm-up round.
// The chain must lie on the input's device. Gradients, buffers and training mode are afterwards
// what they were. Not thread-safe for one chain.
LinkCosts measure_links(Sequence& chain, const torch::Tensor& input, int rounds = 2);

}  // namespace lamp
