// What a plan's numbers are where replicas share a batch: those of one replica, but where all lie
// on one device, which then holds the activations of all of them and has its cores for all of them.
// The sum of their gradients is the plan's own (planner/gradient_transfer.h).
#pragma once

#include "lamp/execution/plan_request.h"
#include "lamp/planner/network_costs.h"

namespace lamp {

// How many times as long as one replica alone takes; more than once where they share a device that
// has no core for each of their slabs.
double replica_share_of_seconds(const PlanOptions& options);

// costs: of what one device has of one replica's micro-batch (slab_costs.h), become those of what
// it has of all replicas'.
void add_replicas(NetworkCosts& costs, const PlanOptions& options);

}  // namespace lamp
