// Every candidate's smallest cut.
#include "lamp/planner/fit.h"

#include <algorithm>
#include <limits>
#include <utility>
#include <vector>

#include "lamp/planner/least_memory.h"

namespace lamp {

namespace {

constexpr std::size_t kSurelySeen = 8;  // even where time is over

}  // namespace

Fit least_fit(Candidates& candidates) {
  Fit least;
  std::int64_t least_over = std::numeric_limits<std::int64_t>::max();
  const PlanRequest& request = candidates.request();
  std::vector<Candidate> all = candidates.all();
  // More stages and micro-batches hold less, so that little time is best spent there.
  if (request.clock->is_late()) std::reverse(all.begin(), all.end());
  std::size_t seen = 0;
  for (const Candidate& candidate : all) {
    if (++seen > kSurelySeen && request.clock->is_too_late()) break;
    const PipelineSetup setup = candidates.setup(candidate);
    const auto fixed = candidates.cut(candidate);
    Balance cut =
        request.recompute_stages.empty()
            ? least_memory_balance(candidates.costs(candidate), setup, request.recompute, fixed)
            : evaluate_rules(candidates.costs(candidate), setup, fixed.value(),
                             request.recompute_stages);
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
