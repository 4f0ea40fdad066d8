// "auto" for the grid of devices: stages alone, or slabs of every volume, or both.
#pragma once

#include <cstdint>
#include <vector>

#include "lamp/execution/plan_request.h"
#include "lamp/nets/network.h"
#include "lamp/planner/plan.h"

namespace lamp {

// Slabs add sums in another order than one device does, and so give other last bits: they are taken
// only where they save more than this share of a step.
inline constexpr double kWorthOfSlabs = 0.05;

// Grids with two slabs or more that the options' devices, input and network allow; few stages
// first. Where the devices are given, of all of them. None where execution.split is not "auto", or
// the layers of each stage are given.
std::vector<DeviceGrid> slab_grids(const PlanOptions& options, const Network& network);

// As if the user had asked for this grid, of the first devices where it takes fewer.
PlanOptions with_grid(const PlanOptions& options, const DeviceGrid& grid);

// The better of both: what fits, then the faster one; stages unless slabs are worth it. Its first
// reason says why. slabs: of every grid that was planned.
Plan weighed(Plan stages, std::vector<Plan> slabs, std::int64_t batch);

}  // namespace lamp
