// What `lamp segment` and `lamp bench segment` take from a plan that was made for training: how to
// run, not how to cut a step, since the folded network has other layers.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "lamp/execution/device_grid.h"
#include "lamp/nets/network.h"

namespace lamp {

struct SegmentExecution {
  std::string device, precision, layout;
  std::string split = "";  // empty: every device is a stage
};

// A split in words; none for "". Throws UsageError for other words: nothing chooses here, so that
// "auto" means something with a plan only.
std::optional<DeviceGrid> parse_segment_split(const std::string& text);

// What `lamp plan` wrote to `file`; sets the number of threads, too. `given` is what the user said
// besides: empty or "auto" where that is nothing. Throws UsageError where the plan is another
// network's, says otherwise than `given`, or names devices that are not here.
SegmentExecution obey_plan(const std::string& file, const std::vector<NetConfig>& nets,
                           const SegmentExecution& given);

}  // namespace lamp
