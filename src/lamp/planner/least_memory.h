// The cut whose fullest stage holds the least, whatever it costs in time: what still fits when
// nothing else does, and how much a device must have. No torch here.
#pragma once

#include <optional>

#include "lamp/planner/balance.h"

namespace lamp {

// Exact dynamic programming where every stage has a device of its own, each stage with the rule
// under which it holds least (or the given one). Stages that share a device are cut as if they did
// not. Device limits play no part. Throws UsageError for more stages than links.
Balance least_memory_balance(const NetworkCosts& costs, const PipelineSetup& setup,
                             const std::optional<RecomputeRule>& recompute = {});

}  // namespace lamp
