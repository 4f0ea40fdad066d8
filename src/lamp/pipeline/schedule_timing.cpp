// Stages are walked in turn, as far as each can go, until none can.
#include "lamp/pipeline/schedule_timing.h"

#include <algorithm>
#include <map>
#include <tuple>
#include <utility>

#include "lamp/base/errors.h"
#include "lamp/base/text.h"

namespace lamp {
namespace {

constexpr double kNotYet = -1;

// End times by kind, stage and micro-batch, filled while each stage's list is walked in order.
class PaperRun {
 public:
  PaperRun(const Schedule& schedule, std::vector<StageCosts> costs, BufferLimits limits)
      : schedule_(schedule),
        costs_(std::move(costs)),
        limits_(limits),
        next_(schedule.actions.size(), 0),
        free_(schedule.actions.size(), 0) {}

  std::vector<TimedAction> run() {
    for (bool moved = true; moved;) {
      moved = false;
      for (std::size_t j = 0; j < schedule_.actions.size(); ++j)
        while (next_[j] < schedule_.actions[j].size() && advance(static_cast<int>(j))) moved = true;
    }
    std::stable_sort(timeline_.begin(), timeline_.end(),
                     [](const TimedAction& a, const TimedAction& b) { return a.start < b.start; });
    return timeline_;
  }

  // The first stage that waits forever, or -1.
  int stuck_stage() const {
    for (std::size_t j = 0; j < next_.size(); ++j)
      if (next_[j] < schedule_.actions[j].size()) return static_cast<int>(j);
    return -1;
  }
  std::size_t position(int stage) const { return next_[static_cast<std::size_t>(stage)]; }

 private:
  double end_of(ActionKind kind, int stage, int microbatch) const {
    const auto found = ends_.find({kind, stage, microbatch});
    return found == ends_.end() ? kNotYet : found->second;
  }
  double start_of(ActionKind kind, int stage, int microbatch) const {
    const auto found = starts_.find({kind, stage, microbatch});
    return found == starts_.end() ? kNotYet : found->second;
  }

  // When everything the action waits for is there; kNotYet if something is not.
  double ready(int stage, const Action& action) const {
    double time = 0;
    const auto wait_for = [&](double moment) {
      time = moment == kNotYet || time == kNotYet ? kNotYet : std::max(time, moment);
    };
    const int i = action.microbatch;
    if (action.kind == ActionKind::kForward) {
      if (stage > 0) wait_for(end_of(ActionKind::kForward, stage - 1, i));
      // With n slots behind it, output i can leave only when the next stage has taken output i - n.
      if (limits_.boundary_slots > 0 && stage + 1 < schedule_.stages && i >= limits_.boundary_slots)
        wait_for(start_of(ActionKind::kForward, stage + 1, i - limits_.boundary_slots));
    } else if (action.kind == ActionKind::kBackward) {
      wait_for(end_of(ActionKind::kForward, stage, i));
      if (stage + 1 < schedule_.stages) wait_for(end_of(ActionKind::kBackward, stage + 1, i));
    } else {
      wait_for(end_of(ActionKind::kBackward, stage, i));
    }
    return time;
  }

  bool advance(int stage) {
    const auto j = static_cast<std::size_t>(stage);
    const Action& action = schedule_.actions[j][next_[j]];
    const double available = ready(stage, action);
    if (available == kNotYet) return false;
    const StageCosts& cost = costs_[j];
    const double length = action.kind == ActionKind::kForward    ? cost.forward
                          : action.kind == ActionKind::kBackward ? cost.backward
                                                                 : cost.weight;
    const double start = std::max(available, free_[j]);
    free_[j] = start + length;
    starts_[{action.kind, stage, action.microbatch}] = start;
    ends_[{action.kind, stage, action.microbatch}] = start + length;
    timeline_.push_back({stage, action, start, start + length});
    ++next_[j];
    return true;
  }

  const Schedule& schedule_;
  std::vector<StageCosts> costs_;
  BufferLimits limits_;
  std::vector<std::size_t> next_;  // by stage: the first action not yet timed
  std::vector<double> free_;       // by stage: when its last action ends
  std::map<std::tuple<ActionKind, int, int>, double> starts_, ends_;
  std::vector<TimedAction> timeline_;
};

// Every action exactly once, and each micro-batch forward, backward, weight in this order on its
// stage.
void check_completeness(const Schedule& schedule) {
  const int halves = schedule.splits_backward() ? 3 : 2;
  for (std::size_t j = 0; j < schedule.actions.size(); ++j) {
    std::vector<int> progress(static_cast<std::size_t>(schedule.microbatches), 0);
    for (const Action& action : schedule.actions[j]) {
      const bool known = action.microbatch >= 0 && action.microbatch < schedule.microbatches;
      if (!known ||
          progress[static_cast<std::size_t>(action.microbatch)]++ != static_cast<int>(action.kind))
        throw Error("invalid schedule: stage " + std::to_string(j) +
                    " has an action of micro-batch " + std::to_string(action.microbatch) +
                    " twice, too early or for no micro-batch");
    }
    if (std::any_of(progress.begin(), progress.end(), [&](int steps) { return steps != halves; }))
      throw Error("invalid schedule: stage " + std::to_string(j) +
                  " leaves a micro-batch unfinished");
  }
}

}  // namespace

void validate(const Schedule& schedule, const BufferLimits& limits) {
  if (static_cast<int>(schedule.actions.size()) != schedule.stages)
    throw Error("invalid schedule: " + counted(schedule.actions.size(), "list") + " for " +
                counted(schedule.stages, "stage"));
  check_completeness(schedule);
  PaperRun run(schedule, std::vector<StageCosts>(schedule.actions.size()), limits);
  run.run();
  if (const int stage = run.stuck_stage(); stage >= 0)
    throw Error("invalid schedule: it would wait forever; stage " + std::to_string(stage) +
                " cannot start action " + std::to_string(run.position(stage)));
}

std::vector<TimedAction> time_schedule(const Schedule& schedule,
                                       const std::vector<StageCosts>& costs) {
  if (costs.size() != schedule.actions.size())
    throw UsageError("costs for " + counted(costs.size(), "stage") + ", but the schedule has " +
                     std::to_string(schedule.stages));
  validate(schedule);
  return PaperRun(schedule, costs, {}).run();
}

double makespan(const std::vector<TimedAction>& timeline) {
  double end = 0;
  for (const TimedAction& timed : timeline) end = std::max(end, timed.end);
  return end;
}

std::string timetable(const Schedule& schedule, const std::vector<StageCosts>& costs) {
  const auto timeline = time_schedule(schedule, costs);
  const auto ticks = static_cast<std::size_t>(makespan(timeline));
  const std::size_t width = std::to_string(schedule.microbatches - 1).size() + 2;
  std::vector<std::vector<std::string>> cells(schedule.actions.size(),
                                              std::vector<std::string>(ticks, "."));
  for (const TimedAction& timed : timeline) {
    const std::string cell =
        "FBW"[static_cast<int>(timed.action.kind)] + std::to_string(timed.action.microbatch);
    for (auto tick = static_cast<std::size_t>(timed.start);
         tick < static_cast<std::size_t>(timed.end); ++tick)
      cells[static_cast<std::size_t>(timed.stage)][tick] = cell;
  }
  std::string text;
  for (std::size_t j = 0; j < cells.size(); ++j) {
    std::string line = std::to_string(j) + "  ";
    for (std::string cell : cells[j]) {
      cell.resize(width, ' ');
      line += cell;
    }
    text += line.substr(0, line.find_last_not_of(' ') + 1) + "\n";
  }
  return text;
}

}  // namespace lamp
