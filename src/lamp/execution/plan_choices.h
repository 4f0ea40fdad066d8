// A plan with every part decided: precision and layout, which change what a network computes, the
// size of the input where it is asked for, and then how it is cut and run.
#pragma once

#include <c10/core/Device.h>

#include <cstdint>
#include <functional>

#include "lamp/base/size3.h"
#include "lamp/execution/plan_request.h"

namespace lamp {

struct NetworkPlan {
  PlanOptions options;  // with the input, the precision and the layout that were chosen
  Plan plan;            // its reasons name them
  ResolvedExecution execution;
};

// plan_network() for what the options leave open, and before it
//  - precision "auto": bf16 where the device multiplies it itself, else fp32;
//  - layout "auto": the measured one (layout_choice.h), the usual one where costs come from shapes;
//  - largest_input: the largest that fits.
// Throws UsageError for options that contradict each other.
NetworkPlan choose_plan(const PlanOptions& wish, Seconds seconds = Seconds::kMeasured);

// Of a device's memory, what a training step may take by shapes alone. The rest is for kernels'
// workspaces, which shapes do not know, and on the host for the prepared cases, which take up to a
// quarter.
double usual_share(c10::Device device);

// The first of `most` and ever smaller ones, multiples of `stride`, that fits; the last of them,
// one stride a side, if none does. Of two sizes the smaller one fits if the larger one does.
Size3 largest_that_fits(const Size3& most, std::int64_t stride,
                        const std::function<bool(const Size3&)>& fits);

// largest_that_fits() up to options.input, of which a training step fits `share` of the devices'
// memory, by shapes alone: nothing is allocated.
Size3 largest_input(const PlanOptions& options, double share = 1);
bool may_fit(const PlanOptions& options, double share = 1);

}  // namespace lamp
