// What a stage holds while one micro-batch or volume passes forward without a graph, link by link:
// the model that the planner's recomputations and the memory of `lamp segment` share. No torch
// here.
#pragma once

#include <cstdint>
#include <vector>

#include "lamp/pipeline/partition.h"
#include "lamp/planner/network_costs.h"

namespace lamp {

// Of each of the links: skips on their way that these links stashed, its input, its output and its
// workspace. What was handed to the stage, its own input and skips from elsewhere, is left to the
// caller, who knows how long it stays.
std::vector<std::int64_t> forward_pass_bytes(const NetworkCosts& costs, const StageRange& links);

// The most that a stage of a prediction holds, input and skips that it pops included. Skips lie
// with the stage that stashes them until they are popped: `waiting` is how many volumes, beside the
// one at work, have left this stage and are on their way through later ones.
std::int64_t prediction_peak_bytes(const NetworkCosts& costs, const StageRange& links, int waiting);

}  // namespace lamp
