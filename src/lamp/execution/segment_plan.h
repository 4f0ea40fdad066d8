// What `lamp segment` takes from a plan that was made for training: how to run, not how to cut a
// step, since the folded network has other layers.
#pragma once

#include <string>
#include <vector>

#include "lamp/inference/scorer.h"
#include "lamp/inference/segment_options.h"

namespace lamp {

// What the user said besides; empty = nothing, so the plan's holds.
struct GivenExecution {
  std::string device, precision, layout;
};

// Sets device, precision and layout of `options` and the number of threads, as `lamp plan` wrote
// them to `file`. Throws UsageError where the plan is another network's, says otherwise than
// `given`, or names devices that are not here.
void obey_plan(const std::string& file, const std::vector<SegmentModel>& models,
               const GivenExecution& given, SegmentOptions& options);

}  // namespace lamp
