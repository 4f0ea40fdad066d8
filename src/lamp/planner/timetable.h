// Schedules as text: one line a device, one column a tick.
#pragma once

#include <string>
#include <vector>

#include "lamp/planner/simulate.h"

namespace lamp {

struct TimetableCell {
  int row;
  int start;  // tick
  int end;    // the tick after the last
  std::string label;
};

// Ticks 0 ... ticks - 1; what lies beyond is cut off, what nobody fills is a dot.
std::string draw_timetable(const std::vector<TimetableCell>& cells, int rows, int ticks);

// F, B, W and R (recomputation) with the micro-batch's number. Transfers are not drawn. Empty if a
// time is no whole number or there are more than `most_ticks` of them.
std::string timetable(const Simulation& simulation, int most_ticks);

}  // namespace lamp
