// The cut that comes nearest to its devices' memory, or stays farthest below it, whatever it costs
// in time: what still fits when nothing else does, and how much a device must have. No torch here.
#pragma once

#include <optional>

#include "lamp/planner/balance.h"

namespace lamp {

// Minimises PipelineSetup::over_bytes, each stage with the rule under which it holds least (or the
// given one). Exact dynamic programming where every stage has a device of its own; where stages
// share one, that is the start of a search that moves one cut or changes one rule at a time, for a
// number of tries that the micro-batches limit.
// partition: a given one, whose rules alone are chosen. `proven` and `lower_bound_s` say nothing
// here. Throws UsageError for more stages than links.
Balance least_memory_balance(const NetworkCosts& costs, const PipelineSetup& setup,
                             const std::optional<RecomputeRule>& recompute = {},
                             const std::optional<Partition>& partition = {});

}  // namespace lamp
