// Every candidate's smallest cut.
#include "lamp/planner/fit.h"

#include <limits>
#include <utility>

#include "lamp/planner/least_memory.h"

namespace lamp {

Fit least_fit(Candidates& candidates) {
  Fit least;
  std::int64_t least_over = std::numeric_limits<std::int64_t>::max();
  const PlanRequest& request = candidates.request();
  for (const Candidate& candidate : candidates.all()) {
    if (!least.balance.partition.empty() && request.clock->is_too_late()) break;
    const PipelineSetup setup = candidates.setup(candidate);
    Balance cut = least_memory_balance(candidates.costs(candidate), setup, request.recompute,
                                       candidates.cut(candidate));
    const std::int64_t over = setup.over_bytes(cut.peak_bytes);
    if (over >= least_over) continue;
    least_over = over;
    least = {over <= 0, candidate, std::move(cut)};
  }
  return least;
}

Fit least_fit(const PlanRequest& request, const CostProvider& costs) {
  Candidates candidates(request, costs);
  return least_fit(candidates);
}

}  // namespace lamp
