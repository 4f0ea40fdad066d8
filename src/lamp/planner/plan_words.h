// A plan's reasons, and advice where nothing fits, as sentences for people.
#pragma once

#include <string>
#include <vector>

#include "lamp/planner/plan_candidates.h"

namespace lamp {

// Why this plan: compares it with the other numbers of devices and schedules.
std::vector<std::string> reasons_for(const Plan& plan, Candidates& candidates);

// What is missing and the nearest things that would fit: more memory, more devices, recomputation,
// more micro-batches, another schedule, the request's alternatives. Each names the option that gets
// it.
std::vector<std::string> advice_for(const Plan& least, Candidates& candidates,
                                    const CostProvider& provider);

}  // namespace lamp
