// Where a plan's numbers come from: the network's layers measured on this machine, or worked out
// from shapes for devices that are not here.
#pragma once

#include <memory>

#include "lamp/execution/plan_request.h"
#include "lamp/nets/network.h"
#include "lamp/planner/plan.h"

namespace lamp {

// A network without memory, for shapes; it may serve several options of one network.
std::shared_ptr<Network> shapes_of(const PlanOptions& options);

// Both of whole volumes.
//
// A network of its own, measured on the first of the options' devices with the threads that a stage
// will have, once for each query. Micro-batches of which that device does not hold a single layer
// are not measured: their costs are those of shapes.
CostProvider whole_measured_costs_of(const PlanOptions& options);
// For the options' input.
CostProvider whole_shape_costs_of(const PlanOptions& options, std::shared_ptr<Network> network);

// Of what one device has of a micro-batch: all of it, or its slabs (slab_costs.h). network: of
// shapes_of().
CostProvider cut_costs(const PlanOptions& options, std::shared_ptr<Network> network,
                       CostProvider whole);
// Of either.
CostProvider measured_costs_of(const PlanOptions& options);
CostProvider shape_costs_of(const PlanOptions& options, std::shared_ptr<Network> network);

// The optimizer's step and the gradients' norm, for each byte of parameters.
// Measured, or worked out from shapes.
double update_s_per_byte(const PlanOptions& options, bool measured);

}  // namespace lamp
