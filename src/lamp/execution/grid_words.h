// What a plan says of its replicas and slabs, in whole sentences.
#pragma once

#include "lamp/execution/plan_request.h"
#include "lamp/nets/network.h"
#include "lamp/planner/plan.h"

namespace lamp {

// Nothing of a plan of stages alone. options: those it was made for, network: of shapes_of().
void add_grid_reasons(Plan& plan, const PlanOptions& options, const Network& network);

}  // namespace lamp
