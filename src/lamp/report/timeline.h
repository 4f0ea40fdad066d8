// What the timeline pictures show: who was busy with what and when, predicted or measured. Plain
// data, so that the simulator's and the executor's timelines are drawn by the same code.
#pragma once

#include <string>
#include <vector>

namespace lamp {

struct TimelineBar {
  int stage;         // of a transfer: the sender
  std::string kind;  // forward, backward, weight, recompute, transfer
  int microbatch;
  double start_s;
  double end_s;
  int to_stage;  // of a transfer: the receiver; else = stage
};

struct TimelinePicture {
  std::string title;
  int stages;
  std::vector<TimelineBar> bars;
  std::string unit = "s";  // of the time axis, such as "s" or "forward times"
};

// A whole SVG document: a row a stage, time to the right, waiting hatched with its share of the
// stage's time at the end of the row, transfers as a thin strip under their sender.
std::string timeline_svg(const TimelinePicture& picture);

// Chrome's trace format, for chrome://tracing or ui.perfetto.dev: process 0 holds the stages,
// process 1 the links by sender.
std::string timeline_trace(const TimelinePicture& picture);

}  // namespace lamp
