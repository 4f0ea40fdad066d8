// What `lamp segment` and `lamp bench segment` take from a plan that was made for training: how to
// run, not how to cut a step, since the folded network has other layers.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "lamp/execution/device_grid.h"
#include "lamp/nets/network.h"

namespace lamp {

struct SegmentExecution {
  std::string device, precision, layout;
  std::string split = "";  // empty or "auto": every device is a stage
};

// A split in words; none for "" and "auto". Throws UsageError for other words.
std::optional<DeviceGrid> parse_split(const std::string& text);

// How so many devices are shared out for a segmentation; without a split every one is a stage.
// Throws UsageError where the split is not theirs.
DeviceGrid segment_grid(const std::optional<DeviceGrid>& split, std::int64_t devices);

// What `lamp plan` wrote to `file`; sets the number of threads, too. `given` is what the user said
// besides: empty or "auto" where that is nothing. Throws UsageError where the plan is another
// network's, says otherwise than `given`, or names devices that are not here.
SegmentExecution obey_plan(const std::string& file, const std::vector<NetConfig>& nets,
                           const SegmentExecution& given);

}  // namespace lamp
