// The four schedules as lists of actions.
#include "lamp/pipeline/schedule.h"

#include <algorithm>
#include <array>
#include <utility>

#include "lamp/base/errors.h"
#include "lamp/base/setting_name.h"

namespace lamp {
namespace {

constexpr std::array<std::pair<ScheduleKind, const char*>, 4> kScheduleNames = {
    {{ScheduleKind::kNaive, "naive"},
     {ScheduleKind::kGPipe, "gpipe"},
     {ScheduleKind::k1F1B, "1f1b"},
     {ScheduleKind::kZeroBubble, "zero-bubble"}}};

std::vector<Action> naive_actions(int microbatches) {
  std::vector<Action> actions;
  for (int i = 0; i < microbatches; ++i) {
    actions.push_back({ActionKind::kForward, i});
    actions.push_back({ActionKind::kBackward, i});
  }
  return actions;
}

// Backwards in micro-batch order, not reversed: gradients must be summed in the same order under
// every schedule.
std::vector<Action> warm_up_actions(int microbatches, int warm_up) {
  std::vector<Action> actions;
  int forward = 0;
  for (; forward < warm_up; ++forward) actions.push_back({ActionKind::kForward, forward});
  for (int backward = 0; backward < microbatches; ++backward) {
    actions.push_back({ActionKind::kBackward, backward});
    if (forward < microbatches) actions.push_back({ActionKind::kForward, forward++});
  }
  return actions;
}

// ZB-H1: 1f1b with the weight halves held back by j micro-batches on stage j, where they fill the
// wait for gradients at the end; so no stage needs the layer inputs of more than K micro-batches,
// the memory of 1f1b's first stage.
std::vector<Action> zero_bubble_actions(int microbatches, int stages, int stage) {
  std::vector<Action> actions;
  int weight = 0;
  for (const Action& action :
       warm_up_actions(microbatches, std::min(microbatches, stages - stage))) {
    actions.push_back(action);
    if (action.kind == ActionKind::kBackward && action.microbatch >= weight + stage)
      actions.push_back({ActionKind::kWeight, weight++});
  }
  while (weight < microbatches) actions.push_back({ActionKind::kWeight, weight++});
  return actions;
}

// The most micro-batches at once, by stage, that have begun their forward and not ended the action
// `frees`.
}  // namespace

ScheduleKind parse_schedule_kind(const std::string& name) {
  for (const auto& [kind, known] : kScheduleNames)
    if (name == known) return kind;
  throw UsageError(setting_name("execution.schedule") + ": found \"" + shortened(name) +
                   "\", expected naive, gpipe, 1f1b or zero-bubble");
}

std::string to_string(ScheduleKind kind) {
  return std::find_if(kScheduleNames.begin(), kScheduleNames.end(),
                      [&](const auto& pair) { return pair.first == kind; })
      ->second;
}

Schedule make_schedule(ScheduleKind kind, int stages, int microbatches) {
  if (stages < 1 || microbatches < 1)
    throw UsageError("a schedule needs at least one stage and one micro-batch, found " +
                     std::to_string(stages) + " and " + std::to_string(microbatches));
  Schedule schedule{.kind = kind, .stages = stages, .microbatches = microbatches};
  for (int j = 0; j < stages; ++j) {
    if (kind == ScheduleKind::kNaive) schedule.actions.push_back(naive_actions(microbatches));
    if (kind == ScheduleKind::kGPipe)
      schedule.actions.push_back(warm_up_actions(microbatches, microbatches));
    if (kind == ScheduleKind::k1F1B)
      schedule.actions.push_back(warm_up_actions(microbatches, std::min(microbatches, stages - j)));
    if (kind == ScheduleKind::kZeroBubble)
      schedule.actions.push_back(zero_bubble_actions(microbatches, stages, j));
  }
  return schedule;
}

std::vector<int> peak_in_flight(const Schedule& schedule) {
  std::vector<int> peaks;
  for (const auto& actions : schedule.actions) {
    int held = 0;
    int peak = 0;
    for (const Action& action : actions) {
      if (action.kind == ActionKind::kForward) peak = std::max(peak, ++held);
      if (action.kind == ActionKind::kBackward) --held;
    }
    peaks.push_back(peak);
  }
  return peaks;
}

std::vector<StageAction> one_at_a_time(const Schedule& schedule) {
  const std::size_t stages = schedule.actions.size();
  std::vector<std::size_t> next(stages, 0);
  const auto m = static_cast<std::size_t>(schedule.microbatches);
  std::vector<std::vector<bool>> done(stages, std::vector<bool>(3 * m));  // by kind and micro-batch
  const auto place_of = [m](const Action& action) {
    return static_cast<std::size_t>(action.kind) * m + static_cast<std::size_t>(action.microbatch);
  };
  const auto can_go_on = [&](std::size_t j) {
    if (next[j] == schedule.actions[j].size()) return false;
    const Action& action = schedule.actions[j][next[j]];
    if (action.kind == ActionKind::kForward) return j == 0 || done[j - 1].at(place_of(action));
    return action.kind == ActionKind::kWeight || j + 1 == stages ||
           done[j + 1].at(place_of(action));
  };
  std::vector<StageAction> actions;
  for (bool moved = true; moved;) {
    moved = false;
    for (std::size_t j = 0; j < stages; ++j) {
      for (; can_go_on(j); moved = true) {
        const Action& action = schedule.actions[j][next[j]++];
        done[j].at(place_of(action)) = true;
        actions.push_back({j, action});
      }
    }
  }
  return actions;
}

}  // namespace lamp
