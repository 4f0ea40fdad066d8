// `lamp bench step|segment`: one measurement, printed as JSON. `lamp bench input` has a file of its
// own.
#include <iostream>
#include <memory>
#include <optional>
#include <string>

#include "lamp/base/errors.h"
#include "lamp/cli/commands.h"
#include "lamp/inference/patch_choice.h"
#include "lamp/nets/net_factory.h"
#include "lamp/training/bench.h"

namespace lamp {
namespace {

struct BenchCommand {
  std::string net = "unet";
  std::optional<std::int64_t> width, depth;  // none = the network's own
  std::int64_t classes = 10;
  std::int64_t channels = 1;
  std::string input = "64,64,64";
  std::string patch = "whole";
  double overlap = 0.5;
  std::string blend = "gaussian";
  std::string schedule, microbatches, recompute, partition;
  BenchOptions options;

  BenchOptions resolved(const GlobalOptions& globals) const {
    BenchOptions result = options;
    Json config = {{"name", net}, {"classes", classes}, {"in_channels", channels}};
    if (width) config["width"] = *width;
    if (depth) config["depth"] = *depth;
    result.net = parse_net_config(config);
    const PatchRequest size = parse_patch(input);
    if (size.kind != PatchRequest::kFixed)
      throw UsageError("--input: found \"" + input + "\", expected X,Y,Z");
    result.input = size.size;
    result.seed = globals.seed_or_zero();
    result.execution = execution();
    const PatchRequest window = parse_patch(patch);
    if (window.kind == PatchRequest::kFixed)
      result.window =
          WindowOptions{.size = window.size, .overlap = overlap, .blend = parse_blend(blend)};
    return result;
  }

  // In the words of the configuration, so that both say the same.
  ExecutionConfig execution() const {
    Json config = {{"device", options.execution.device},
                   {"precision", options.execution.precision},
                   {"layout", options.execution.layout}};
    const auto set = [&](const std::string& key, const std::string& value) {
      if (value.empty()) return;
      const Json parsed = Json::parse(value, nullptr, /*allow_exceptions=*/false);
      config[key] = parsed.is_discarded() ? Json(value) : parsed;
    };
    set("schedule", schedule);
    set("microbatches", microbatches);
    set("recompute", recompute);
    set("partition", partition);
    return parse_execution_config(config);
  }
};

void add_common_options(CLI::App* command, BenchCommand& bench) {
  command->add_option("--net", bench.net, "unet, seunet or anatomynet");
  command->add_option("--width", bench.width, "filters of the first convolution");
  command->add_option("--depth", bench.depth, "encoder blocks after the first");
  command->add_option("--classes", bench.classes, "labels with the background");
  command->add_option("--in-channels", bench.channels, "channels of the input");
  command->add_option("--input", bench.input, "size of the volume or patch: X,Y,Z");
  command->add_option("--device", bench.options.execution.device,
                      "auto, cpu, cuda:0; step: several as pipeline stages, cpu,cpu");
  command->add_option("--precision", bench.options.execution.precision, "fp32, bf16 or fp16");
  command->add_option("--layout", bench.options.execution.layout,
                      "auto (measured), channels_last or contiguous");
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
  step->add_option("--batch", bench->options.batch, "samples in the mini-batch")
      ->check(CLI::Range(1, 4096));
  step->add_option("--schedule", bench->schedule, "naive, gpipe, 1f1b or zero-bubble");
  step->add_option("--microbatches", bench->microbatches, "auto, or parts of the mini-batch");
  step->add_option("--recompute", bench->recompute, "never, always or except_last");
  step->add_option("--partition", bench->partition,
                   "auto, time, layers, parameters, activations, or layers a stage: [5,7,9]");
  step->callback([bench, &globals] { print_json(bench_step(bench->resolved(globals))); });
  CLI::App* segment =
      command->add_subcommand("segment", "seconds and peak bytes of the logits of one volume");
  add_common_options(segment, *bench);
  segment->add_option("--patch", bench->patch, "whole, or the window X,Y,Z");
  segment->add_option("--overlap", bench->overlap, "of windows, from 0 to below 1");
  segment->add_option("--blend", bench->blend, "gaussian or constant");
  segment->callback([bench, &globals] { print_json(bench_segment(bench->resolved(globals))); });
  add_bench_input_command(*command, globals);
}

}  // namespace lamp
