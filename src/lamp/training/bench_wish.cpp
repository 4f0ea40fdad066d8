// A plan's values first, then what was said.
#include "lamp/training/bench_wish.h"

#include <ATen/Parallel.h>

#include <utility>

#include "lamp/base/setting_name.h"
#include "lamp/execution/resolved_execution.h"
#include "lamp/execution/segment_plan.h"
#include "lamp/inference/patch_choice.h"

namespace lamp {

BenchOptions parse_bench_wish(const BenchWish& wish) {
  std::optional<ResolvedExecution> plan;
  if (!wish.plan.empty()) plan = read_plan(wish.plan);
  BenchOptions options{.rounds = wish.rounds, .seed = wish.seed, .plan = wish.plan};
  Json net = plan ? to_json(plan->net) : Json{{"classes", 10}};
  net.update(wish.net);
  options.net = parse_net_config(net);
  if (!wish.input.empty())
    options.input = parse_size(wish.input, setting_name("input"));
  else if (plan)
    options.input = plan->input;
  options.batch = wish.batch.value_or(plan ? plan->batch : 1);
  Json execution = Json::object();
  if (plan)
    execution = {{"device", plan->device()},
                 {"precision", plan->precision},
                 {"layout", plan->layout},
                 {"deferred_batch_norm", plan->deferred_batch_norm}};
  if (plan && plan->replicas * plan->slabs > 1) execution["split"] = to_string(plan->grid());
  execution.update(wish.execution);
  options.execution = parse_execution_config(execution);
  if (plan && options.execution.device == plan->device()) at::set_num_threads(plan->threads);
  const PatchRequest window = parse_patch(wish.patch);
  if (window.kind == PatchRequest::kFixed)
    options.window = WindowOptions{
        .size = window.size, .overlap = wish.overlap, .blend = parse_blend(wish.blend)};
  return options;
}

BenchOptions parse_segment_wish(const BenchWish& wish) {
  BenchOptions options = parse_bench_wish(wish);
  options.batch = 1;
  ExecutionConfig& execution = options.execution;
  if (wish.plan.empty()) {
    if (execution.auto_split) parse_segment_split("auto");
    return options;
  }
  SegmentExecution planned =
      obey_plan(wish.plan, {options.net},
                {.device = execution.device,
                 .precision = execution.precision,
                 .layout = execution.layout,
                 .split = execution.split ? to_string(*execution.split) : ""});
  execution.device = std::move(planned.device);
  execution.precision = std::move(planned.precision);
  execution.layout = std::move(planned.layout);
  execution.split = parse_segment_split(planned.split);
  execution.auto_split = false;
  return options;
}

}  // namespace lamp
