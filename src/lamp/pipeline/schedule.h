// Who does what when, as plain data: for each stage of a pipeline the ordered list of its actions.
// The executor runs it, the simulator times it, a picture draws it, so that the plan cannot drift
// from the run. No torch here.
//
// Stage j, micro-batch i. Forward (j, i) waits for forward (j-1, i); backward (j, i) waits for
// backward (j+1, i) and its own forward; the weight half, where a schedule has it, only for its own
// backward. Three stages, four micro-batches, a forward of one tick (F) and a backward of two (B):
//
//   gpipe   0  F0 F1 F2 F3 .  .  .  .  .  .  B0 B0 B1 B1 B2 B2 B3 B3
//           1  .  F0 F1 F2 F3 .  .  .  B0 B0 B1 B1 B2 B2 B3 B3 .  .
//           2  .  .  F0 F1 F2 F3 B0 B0 B1 B1 B2 B2 B3 B3 .  .  .  .
//
//   1f1b    0  F0 F1 F2 .  .  .  .  B0 B0 F3 B1 B1 .  B2 B2 .  B3 B3
//           1  .  F0 F1 .  .  B0 B0 F2 B1 B1 F3 B2 B2 .  B3 B3 .  .
//           2  .  .  F0 B0 B0 F1 B1 B1 F2 B2 B2 F3 B3 B3 .  .  .  .
#pragma once

#include <cstddef>
#include <string>
#include <vector>

namespace lamp {

enum class ActionKind {
  kForward,
  kBackward,  // both gradients, or only the input's where the schedule has weight actions
  kWeight,    // the weights' gradients of a micro-batch, any time after its backward
};

struct Action {
  ActionKind kind;
  int microbatch;
  bool operator==(const Action&) const = default;
};

enum class ScheduleKind { kNaive, kGPipe, k1F1B, kZeroBubble };

// "naive", "gpipe", "1f1b", "zero-bubble". Throws UsageError for another name.
ScheduleKind parse_schedule_kind(const std::string& name);
std::string to_string(ScheduleKind kind);

struct Schedule {
  ScheduleKind kind;
  int stages;                                // K
  int microbatches;                          // M
  std::vector<std::vector<Action>> actions;  // [K], each in its stage's order

  bool splits_backward() const { return kind == ScheduleKind::kZeroBubble; }
};

// K, M >= 1. The result is valid.
//   naive        one micro-batch after another: bubble (K-1)/K, one micro-batch in flight
//   gpipe        all forwards, then all backwards: bubble (K-1)/(M+K-1), M in flight (Huang et al.
//   2019) 1f1b         min(M, K-j) forwards, then a backward and a forward in turn: the same
//   bubble, min(M, K-j) in flight
//                (Narayanan et al. 2019)
//   zero-bubble  ZB-H1: 1f1b's memory; weight halves fill the waiting: a third of its bubble where
//   M >= K (Qi et al. 2023)
Schedule make_schedule(ScheduleKind kind, int stages, int microbatches);

struct StageAction {
  std::size_t stage;
  Action action;
};

// All stages' actions one after another, each after those it waits for: how one thread runs a
// pipeline whose stages never have work at the same time. Also for forwards alone.
std::vector<StageAction> one_at_a_time(const Schedule& schedule);

// The most micro-batches that stage j has sent forward and not yet backward, the column of the
// table above.
std::vector<int> peak_in_flight(const Schedule& schedule);

}  // namespace lamp
