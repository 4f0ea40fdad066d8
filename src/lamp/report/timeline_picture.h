// Pictures of timelines: who was busy with what and when. Predicted and measured ones are drawn by
// the same code, one under the other on one time axis.
#pragma once

#include <string>
#include <vector>

#include "lamp/pipeline/timeline.h"

namespace lamp {

struct TimelinePanel {
  std::string name;  // such as "predicted"; not needed where there is one panel
  int stages;        // rows: of slabs, one for each of them
  std::vector<TimelineEntry> timeline;
  int slabs = 1;  // of each stage: row = stage * slabs + slab

  // "stage 1", of slabs "stage 1, slab 0".
  std::string row_name(int row) const {
    const std::string stage = "stage " + std::to_string(row / slabs);
    return slabs == 1 ? stage : stage + ", slab " + std::to_string(row % slabs);
  }
};

struct TimelinePicture {
  std::string title;
  std::vector<TimelinePanel> panels;
  std::string unit = "s";  // of the time axis, such as "s" or "forward times"
};

}  // namespace lamp
