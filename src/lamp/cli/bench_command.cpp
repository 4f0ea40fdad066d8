// `lamp bench step|segment`: one measurement, printed as JSON. `lamp bench input` has a file of its
// own.
#include <ATen/Parallel.h>

#include <iostream>
#include <memory>
#include <optional>
#include <string>

#include "lamp/base/errors.h"
#include "lamp/cli/commands.h"
#include "lamp/cli/network_options.h"
#include "lamp/inference/patch_choice.h"
#include "lamp/nets/net_factory.h"
#include "lamp/training/bench.h"

namespace lamp {
namespace {

struct BenchCommand {
  NetOptions net;
  ExecutionOptions execution;
  std::string input;
  std::optional<std::int64_t> batch;
  std::string patch = "whole";
  double overlap = 0.5;
  std::string blend = "gaussian";
  BenchOptions options;

  BenchOptions resolved(const GlobalOptions& globals) const {
    BenchOptions result = options;
    // What is not given is the plan's, if there is one.
    std::optional<ResolvedExecution> plan;
    if (!options.plan.empty()) plan = read_plan(options.plan);
    Json config = plan ? to_json(plan->net) : Json{{"classes", 10}};
    config.update(to_json(net));
    result.net = parse_net_config(config);
    if (!input.empty())
      result.input = parse_size(input, "--input");
    else if (plan)
      result.input = plan->input;
    result.batch = batch.value_or(plan ? plan->batch : 1);
    result.seed = globals.seed_or_zero();
    Json run = Json::object();
    if (plan)
      run = {{"device", plan->device()},
             {"precision", plan->precision},
             {"layout", plan->layout},
             {"deferred_batch_norm", plan->deferred_batch_norm}};
    run.update(to_json(execution));
    result.execution = parse_execution_config(run);
    if (plan && result.execution.device == plan->device()) at::set_num_threads(plan->threads);
    const PatchRequest window = parse_patch(patch);
    if (window.kind == PatchRequest::kFixed)
      result.window =
          WindowOptions{.size = window.size, .overlap = overlap, .blend = parse_blend(blend)};
    return result;
  }
};

void add_common_options(CLI::App* command, BenchCommand& bench) {
  add_options(*command, bench.net);
  command->add_option("--input", bench.input,
                      "size of the volume or patch: X,Y,Z; default 64,64,64");
  command->add_option("--device", bench.execution.device,
                      "auto, cpu, cuda:0; step: several as pipeline stages, cpu,cpu");
  command->add_option("--rounds", bench.options.rounds, "counted rounds after a warm-up")
      ->check(CLI::Range(1, 1000));
}

}  // namespace

void add_bench_command(CLI::App& app, const GlobalOptions& globals) {
  CLI::App* command = app.add_subcommand(
      "bench", "measure one training step, one inference or the input; prints JSON");
  command->require_subcommand(1);
  auto bench = std::make_shared<BenchCommand>();
  CLI::App* step = command->add_subcommand("step", "seconds and peak bytes of an optimizer step");
  add_common_options(step, *bench);
  step->add_option("--batch", bench->batch, "samples in the mini-batch; default 1")
      ->check(CLI::Range(1, 4096));
  add_options(*step, bench->execution);
  step->add_option("--plan", bench->options.plan, "run exactly what lamp plan -o wrote here")
      ->check(CLI::ExistingFile);
  step->callback([bench, &globals] { print_json(bench_step(bench->resolved(globals))); });
  CLI::App* segment =
      command->add_subcommand("segment", "seconds and peak bytes of the logits of one volume");
  add_common_options(segment, *bench);
  segment->add_option("--precision", bench->execution.precision, "fp32, bf16, fp16 or auto");
  segment->add_option("--layout", bench->execution.layout,
                      "auto (measured), channels_last or contiguous");
  segment->add_option("--patch", bench->patch, "whole, or the window X,Y,Z");
  segment
      ->add_option("--plan", bench->options.plan,
                   "network, device, precision, layout and threads of what lamp plan -o wrote")
      ->check(CLI::ExistingFile);
  segment->add_option("--overlap", bench->overlap, "of windows, from 0 to below 1");
  segment->add_option("--blend", bench->blend, "gaussian or constant");
  segment->callback([bench, &globals] { print_json(bench_segment(bench->resolved(globals))); });
  add_bench_input_command(*command, globals);
}

}  // namespace lamp
