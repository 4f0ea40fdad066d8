// What every link of a chain costs on the device it lies on: bytes counted by the allocator, and
// seconds of both passes, of each link alone. Whole steps (step_seconds.h) give better seconds,
// where the graph of the whole fits the device.
#pragma once

#include <torch/types.h>

#include <functional>

#include "lamp/planner/network_costs.h"
#include "lamp/sequence/sequence.h"

namespace lamp {

// Logits of a micro-batch -> its loss.
using OutputLoss = std::function<torch::Tensor(const torch::Tensor& output)>;

struct MeasureOptions {
  int rounds = 2;                      // counted, at most; one where it takes above kSlowRound
  std::function<void()> on_link = {};  // before each link of each round; may throw
};

// Whose noise is small beside them, in seconds.
constexpr double kSlowRound = 4;

// input [n, ...]: a micro-batch on the chain's device. Seconds are the least of the rounds, after a
// warm-up. Gradients, buffers and training mode are afterwards what they were. Without a loss its
// costs are 0. Nothing else may allocate on the device meanwhile; not thread-safe for one chain.
NetworkCosts measure_costs(Sequence& chain, const torch::Tensor& input, const OutputLoss& loss = {},
                           const MeasureOptions& options = {});

}  // namespace lamp
