// What a plan's numbers are where every volume is cut into slabs: those of the whole volume, shared
// out by planes, with what exchanges take. Nothing is measured on slabs.
#pragma once

#include <vector>

#include "lamp/execution/plan_request.h"
#include "lamp/nets/network.h"
#include "lamp/planner/network_costs.h"

namespace lamp {

// Of one exchange between devices, however little is sent: each slab says what it has and waits for
// all others. Assumed; what is sent over a link takes its bytes over link_bytes_per_s() beside it.
inline constexpr double kExchangeLatencyS = 20e-6;

// Of the devices that the options name, without replicas that have no sample where another stage of
// the curriculum has some for them. Throws UsageError where the split is not theirs.
DeviceGrid grid_of(const PlanOptions& options);

// Whether they are all the same.
bool is_one_device(const PlanOptions& options);

// Throws UsageError where the options' input or network cannot be cut as they ask, as a run would.
void check_slabs(const PlanOptions& options);
void check_slabs(const PlanOptions& options, const Network& network);
// The most slabs, up to `most`, into which the options' input can be cut.
std::int64_t most_slabs(const PlanOptions& options, const Network& network, std::int64_t most);
// Whether it would not.
bool has_planes_for_slabs(const PlanOptions& options, const Network& network);

// How often a device that has so many slabs must begin anew: a GPU runs one at a time, the host one
// on each core.
std::int64_t turns_on_device(const PlanOptions& options, std::int64_t slabs);

// Of a whole volume's seconds, what each slab takes; more than its part where slabs share a device
// that has no core for each. Where devices differ in speed and there are no slabs, that of the
// slowest.
double slab_share_of_seconds(const PlanOptions& options);
// The same by link, the loss last, of the slab that takes longest for its planes of the link: the
// others wait for it.
std::vector<double> slab_shares_of_seconds(const PlanOptions& options, const Network& network);
// costs: with seconds of a whole volume's work, become those of a slab, its exchanges included.
void share_seconds(NetworkCosts& costs, const std::vector<double>& shares);

// costs: of a whole micro-batch, become those of what one device has of it: the slabs of a stage
// that lie there. With halos by the planes that each convolution reads of others, and exchanges.
void cut_into_slabs(NetworkCosts& costs, const PlanOptions& options, const Network& network);

// [L]: planes of each slab beside those of the one that has most; empty where all are alike.
std::vector<double> slab_parts(const PlanOptions& options, const Network& network);

// request.devices: all of them; become those of the first replica's first slabs, with the least
// memory of a stage's. With request.slab_parts the memory that the slab with most planes may take
// so that each smaller one fits its own device, request.slab_fixed_bytes of it whatever the planes.
void take_slabs(PlanRequest& request, const DeviceGrid& grid);

}  // namespace lamp
