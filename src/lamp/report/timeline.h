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

// A whole SVG document: for each panel a row a stage, time to the right, waiting hatched with its
// share of the stage's time at the end of the row, transfers as a thin strip under their sender.
std::string timeline_svg(const TimelinePicture& picture);

// What a trace says it is by (base/own_output.h).
inline constexpr const char* kTraceWriter = "lamp trace";

// Chrome's trace format, for chrome://tracing or ui.perfetto.dev: of panel p, process 2 p holds the
// stages and process 2 p + 1 the links by sender.
std::string timeline_trace(const TimelinePicture& picture);

}  // namespace lamp
