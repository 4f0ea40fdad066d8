// The sum of gradients over lanes in several processes. As in GradientSum each row of a parameter
// has an owner among the lanes; each lane sends it its rows, the owner adds them in lane order and
// sends the sum to all lanes of the stage:
//
//   lane 0  rows of b -> 1, of c -> 2 | a = a0 + a1 + a2 | a -> 1, 2
//   lane 1  rows of a -> 0, of c -> 2 | b = b0 + b1 + b2 | b -> 0, 2
#pragma once

#include <torch/types.h>

#include <cstddef>
#include <vector>

#include "lamp/processes/world.h"

namespace lamp {

struct StageRanks {
  std::vector<int> ranks;  // by lane: the process that runs the stage there, each another one
  std::size_t own = 0;     // this process's lane
};

// A call of all processes of the stage, each with its own lane's parameters, in the same order. The
// first `lanes` have a part in the sums; the others have no sample of the batch. A parameter that
// no lane has a gradient of keeps none.
void sum_gradients_of_lanes(World& world, Cancellation* until, const StageRanks& stage,
                            std::size_t lanes, const std::vector<torch::Tensor>& parameters);

}  // namespace lamp
