// "auto" for the grid of devices: stages alone, slabs of every volume, replicas that share a batch,
// or several of them.
#pragma once

#include <cstdint>
#include <vector>

#include "lamp/execution/plan_request.h"
#include "lamp/nets/network.h"
#include "lamp/planner/plan.h"

namespace lamp {

// Slabs and replicas add sums in another order than one device does, and so give other last bits:
// they are taken only where they save more than this share of a step.
inline constexpr double kWorthOfLanes = 0.05;

// Grids with two slabs or replicas or more that the options' devices, input, batch and network
// allow; few replicas first, then few stages. Each replica has as many samples as a micro-batch
// that the planner chooses, for batch norm's sake. Where the devices are given, of all of them.
// None where execution.split is not "auto", or the layers of each stage are given.
std::vector<DeviceGrid> lane_grids(const PlanOptions& options, const Network& network);

// As if the user had asked for this grid, of the first devices where it takes fewer.
PlanOptions with_grid(const PlanOptions& options, const DeviceGrid& grid);

// What fits, then the fastest; stages unless others are worth it. Its first reason says why.
// others: of every grid of slabs and replicas that was planned.
Plan weighed(Plan stages, std::vector<Plan> others, std::int64_t batch);

}  // namespace lamp
