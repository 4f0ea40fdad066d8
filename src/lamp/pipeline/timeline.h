// What the stages of a pipeline did and when, as plain data: the simulator predicts it, the
// executor records it, the report module draws both alike, so that they lie side by side. No torch
// here.
#pragma once

#include <string>
#include <vector>

#include "lamp/base/json.h"
#include "lamp/pipeline/schedule.h"

namespace lamp {

enum class WorkKind { kForward, kBackward, kWeight, kRecompute, kTransfer };
std::string to_string(WorkKind kind);  // "forward", "backward", "weight", ...
WorkKind work_kind(ActionKind kind);

struct TimelineEntry {
  int stage;  // of a transfer: the sender
  WorkKind kind;
  int microbatch;
  double start;  // seconds since the step began, or the unit of the costs
  double end;
  int to_stage = -1;  // of a transfer: the receiver
};

// [{"stage", "kind", "microbatch", "start", "end"}], transfers with "to_stage".
Json to_json(const std::vector<TimelineEntry>& timeline);

}  // namespace lamp
