// `lamp bench`: seconds and peak bytes of one training step or one whole inference on generated
// data, so that networks, sizes, devices and precisions can be compared. Same seed and options,
// same figures to the last bit.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "lamp/base/json.h"
#include "lamp/base/size3.h"
#include "lamp/execution/plan_choices.h"
#include "lamp/inference/sliding_window.h"
#include "lamp/nets/network.h"
#include "lamp/pipeline/pipeline_links.h"
#include "lamp/pipeline/timeline.h"

namespace lamp {

struct BenchOptions {
  NetConfig net;
  Size3 input = {64, 64, 64};  // x, y, z
  std::int64_t batch = 1;
  OptimizerConfig optimizer;
  ExecutionConfig execution;  // segment: of it devices, precision and layout
  int rounds = 3;             // counted, after one warm-up
  std::uint64_t seed = 0;
  std::string plan;                     // step only: of `lamp plan -o`, to be run as it is
  std::optional<WindowOptions> window;  // segment only; none = the whole volume at once
};

struct MeasuredStep {
  Json report;                           // as `lamp bench step` prints it (docs/commands.md)
  double median_s = 0;                   // of the rounds
  std::vector<std::int64_t> peak_bytes;  // by distinct device
  std::vector<TimelineEntry> timeline;   // of the round that took the median
  // Of a plan: seconds predicted in turn with the rounds, each from a profile right before its
  // round, so that a machine whose speed drifts is compared with itself. Empty where the device
  // does not hold both.
  std::vector<double> predicted_s;
};

// How the step runs: as the given plan says, else as the planner decides. Throws DoesNotFit for
// what cannot work, UsageError that names the field in which a given plan is another's.
ResolvedExecution decide_step(const BenchOptions& options);
// A round is one optimizer step on noise with random labels; loss and gradient norm are the last
// round's.
MeasuredStep measure_step(const BenchOptions& options);
// The same in one of several processes, of a plan that all have: peak bytes and timeline are those
// of this process alone.
MeasuredStep measure_own_part(const ResolvedExecution& plan, const BenchOptions& options,
                              std::shared_ptr<PipelineLinks> links,
                              const std::function<void(int round)>& before_round);
// A plan's measured counterpart, predicted again in turn with its rounds (step_profile.h).
MeasuredStep measure_plan(const NetworkPlan& chosen, int rounds);
// measure_step()'s report.
Json bench_step(const BenchOptions& options);
// A round is the logits of one volume, whole or in windows, over one device or several as `lamp
// segment` runs. The batch is 1. The folded network (inference_form.h) and the one it was
// made from take turns; "seconds" and "peak_bytes" are the folded one's, "unfolded" holds the
// other's and how far their results agree; "speedup" is the unfolded one's median seconds over the
// folded one's.
Json bench_segment(const BenchOptions& options);

}  // namespace lamp
