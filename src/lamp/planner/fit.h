// Whether a request can be met at all, which takes a moment, where the fastest way to meet it takes
// a search. No torch here.
#pragma once

#include <cstdint>
#include <limits>

#include "lamp/planner/plan_candidates.h"

namespace lamp {

struct Fit {
  bool fits = false;
  std::int64_t bytes = std::numeric_limits<std::int64_t>::max();  // of the fullest device
  Candidate candidate{};                                          // that needs least
};

// The least that any candidate of the request holds, those that fit first.
Fit least_fit(const PlanRequest& request, const CostProvider& costs);

}  // namespace lamp
