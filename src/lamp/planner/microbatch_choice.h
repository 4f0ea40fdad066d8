// Into how many parts a batch is split, decided from shapes alone: batch norm makes a result depend
// on it, so the answer must be the same tomorrow and on another machine, whatever layers take
// there. No torch here.
#pragma once

#include "lamp/planner/plan.h"

namespace lamp {

// Fewer micro-batches are taken if they cost no more than this share of a step: batch norm is
// steadier with more samples.
constexpr double kWorthOfMicrobatches = 0.03;

// The fewest that fit and, cut into stages that take equally long by `costs`, are about as fast as
// the fastest number. Where none fits, those of the cut that needs least.
int steady_microbatches(const PlanRequest& request, const CostProvider& costs);

}  // namespace lamp
