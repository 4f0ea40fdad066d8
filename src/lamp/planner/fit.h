// Whether a request can be met at all, which takes a moment, where the fastest way to meet it takes
// a search. No torch here.
#pragma once

#include "lamp/planner/plan_candidates.h"

namespace lamp {

struct Fit {
  bool fits = false;
  Candidate candidate{};
  Balance balance;  // least_memory.h
};

// Of all candidates the one whose devices are least over their memory, or most below it, with what
// the request fixes: schedule, micro-batches, recomputation and cut. After the request's time
// (search_clock.h) the best of those looked at.
Fit least_fit(Candidates& candidates);
Fit least_fit(const PlanRequest& request, const CostProvider& costs);

}  // namespace lamp
