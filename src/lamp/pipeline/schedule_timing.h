// Running a schedule on paper: when each action starts, whether it ever can, and the drawing.
#pragma once

#include <string>
#include <vector>

#include "lamp/pipeline/schedule.h"

namespace lamp {

// What a schedule may assume about the executor.
struct BufferLimits {
  int boundary_slots = 0;  // tensors that may wait between two neighbouring stages; 0 = no limit
};

// Throws Error if an action is missing, doubled or out of order, or if the dependencies, buffer
// limits included, form a cycle, so that a run would wait forever; the message names the first
// stage that cannot go on.
void validate(const Schedule& schedule, const BufferLimits& limits = {});

// Start and end of every action under given costs, each as early as the schedule allows.
struct TimedAction {
  int stage;
  Action action;
  double start;
  double end;
};

struct StageCosts {
  double forward = 1;
  double backward = 2;  // both halves, or the input's half where the schedule splits it
  double weight = 0;    // only used where the schedule splits the backward
};

// costs: one for each stage. In order of start time.
std::vector<TimedAction> time_schedule(const Schedule& schedule,
                                       const std::vector<StageCosts>& costs);
double makespan(const std::vector<TimedAction>& timeline);

// The drawing at the top of schedule.h: one line a stage, one column a tick, under whole-number
// costs.
std::string timetable(const Schedule& schedule, const std::vector<StageCosts>& costs);

}  // namespace lamp
