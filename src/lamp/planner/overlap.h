// How much the stages that share a device are at work at the same time. They share caches and
// memory then, and a layer takes longer than alone. No torch here.
#pragma once

#include <vector>

#include "lamp/planner/pipeline_setup.h"

namespace lamp {

// Of the device with most stages: while one of them, or one of its slabs, is at work, which share
// of the others is at work as well, on average. 0 = they take turns, 1 = always all of them, as the
// slabs of a stage are.
double overlap_of(const PipelineSetup& setup, const std::vector<TimelineEntry>& timeline);

// The same before a cut is known: of stages that take equally long.
double usual_overlap(const PipelineSetup& setup);

}  // namespace lamp
