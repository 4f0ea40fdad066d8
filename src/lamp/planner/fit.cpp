// Every candidate's smallest cut.
#include "lamp/planner/fit.h"

#include <utility>

#include "lamp/planner/least_memory.h"

namespace lamp {

Fit least_fit(const PlanRequest& request, const CostProvider& costs) {
  Fit least;
  Candidates candidates(request, costs);
  for (const Candidate& candidate : candidates.all()) {
    const PipelineSetup setup = candidates.setup(candidate);
    const Balance cut = least_memory_balance(candidates.costs(candidate), setup, request.recompute);
    const auto devices = setup.distinct_devices();
    bool fits = true;
    for (std::size_t d = 0; d < devices.size(); ++d)
      fits = fits && cut.peak_bytes[d] <= devices[d].memory_bytes;
    if (std::pair(!fits, cut.largest_peak_bytes) < std::pair(!least.fits, least.bytes))
      least = {fits, cut.largest_peak_bytes, candidate};
  }
  return least;
}

}  // namespace lamp
