// A pipeline step for a browser that zooms.
#pragma once

#include <string>

#include "lamp/report/timeline_picture.h"

namespace lamp {

// What a trace says it is by (base/own_output.h).
inline constexpr const char* kTraceWriter = "lamp trace";

// Chrome's trace format, for chrome://tracing or ui.perfetto.dev: of panel p, process 2 p holds the
// stages and process 2 p + 1 the links by sender.
std::string timeline_trace(const TimelinePicture& picture);

}  // namespace lamp
