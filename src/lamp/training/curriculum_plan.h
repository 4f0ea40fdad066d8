// A curriculum as the planner sees it: what a stage asks of the devices that are here, and the sizes
// of the images that stages of whole volumes and validation meet.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "lamp/data/datalist.h"
#include "lamp/training/plan_run.h"

namespace lamp {

// x, y, z of a case's image on the network's grid; from its header alone.
std::array<std::int64_t, 3> network_size(const Case& entry, const DataConfig& data);
// The one with most voxels; `which`, if given, becomes its index.
std::array<std::int64_t, 3> largest_size(const std::vector<Case>& cases, const DataConfig& data,
                                         std::size_t* which = nullptr);

// The options with everything that a run of them would not choose itself fixed: devices by name,
// schedule, micro-batches; a single stage computes nothing again. device_memory_bytes becomes the
// least of what is free, where it was open.
PlanOptions as_a_run(PlanOptions options);
// Of one stage on an input of x, y, z voxels. Rules that differ from stage to stage count as auto.
PlanOptions plan_options_of(const TrainConfig& config, const StageConfig& stage,
                            const std::array<std::int64_t, 3>& size);

}  // namespace lamp
