// Pictures of timelines: who was busy with what and when. Predicted and measured ones are drawn by
// the same code, one under the other on one time axis.
#pragma once

#include <string>
#include <vector>

#include "lamp/pipeline/timeline.h"

namespace lamp {

struct TimelinePanel {
  std::string name;  // such as "predicted"; not needed where there is one panel
  int stages;
  std::vector<TimelineEntry> timeline;
};

struct TimelinePicture {
  std::string title;
  std::vector<TimelinePanel> panels;
  std::string unit = "s";  // of the time axis, such as "s" or "forward times"
};

}  // namespace lamp
