// What a plan's numbers are where every volume is cut into slabs: those of the whole volume, shared
// out. Nothing is measured on slabs, so what they cost beside their share is left out of the
// seconds: exchanges, and planes that are not the same number everywhere.
#pragma once

#include "lamp/execution/plan_request.h"
#include "lamp/nets/network.h"
#include "lamp/planner/network_costs.h"

namespace lamp {

// Of the devices that the options name. Throws UsageError where the split is not theirs.
DeviceGrid grid_of(const PlanOptions& options);

// Whether they are all the same.
bool is_one_device(const PlanOptions& options);

// Throws UsageError where the options' input or network cannot be cut as they ask, as a run would.
void check_slabs(const PlanOptions& options);
void check_slabs(const PlanOptions& options, const Network& network);
// Whether it would not.
bool has_planes_for_slabs(const PlanOptions& options, const Network& network);

// Of a whole volume's seconds, what each slab takes; more than its part where slabs share a device
// that has no core for each.
double slab_share_of_seconds(const PlanOptions& options);

// costs: of a whole micro-batch, become those of what one device has of it: the slabs of a stage
// that lie there. With halos by the planes that each convolution reads of others.
void cut_into_slabs(NetworkCosts& costs, const PlanOptions& options, const Network& network);

// request.devices: all of them; become those of the first replica's first slabs, with the least
// memory of a stage's.
void take_slabs(PlanRequest& request, const DeviceGrid& grid);

}  // namespace lamp
