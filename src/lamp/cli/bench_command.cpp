// `lamp bench step|segment`: one measurement, printed as JSON.
#include <iostream>
#include <memory>
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
  std::int64_t width = 0;  // 0 = the network's own default
  std::int64_t depth = 0;
  std::int64_t classes = 10;
  std::int64_t channels = 1;
  std::string input = "64,64,64";
  std::string patch = "whole";
  double overlap = 0.5;
  std::string blend = "gaussian";
  BenchOptions options;

  BenchOptions resolved(const GlobalOptions& globals) const {
    BenchOptions result = options;
    Json config = {{"name", net}, {"classes", classes}, {"in_channels", channels}};
    if (width != 0) config["width"] = width;
    if (depth != 0) config["depth"] = depth;
    result.net = parse_net_config(config);
    const PatchRequest size = parse_patch(input);
    if (size.kind != PatchRequest::kFixed)
      throw UsageError("--input: found \"" + input + "\", expected X,Y,Z");
    result.input = size.size;
    result.seed = globals.seed_or_zero();
    const PatchRequest window = parse_patch(patch);
    if (window.kind == PatchRequest::kFixed)
      result.window =
          WindowOptions{.size = window.size, .overlap = overlap, .blend = parse_blend(blend)};
    return result;
  }
};

void add_common_options(CLI::App* command, BenchCommand& bench) {
  command->add_option("--net", bench.net, "unet, seunet or anatomynet");
  command->add_option("--width", bench.width, "filters of the first convolution");
  command->add_option("--depth", bench.depth, "encoder blocks after the first");
  command->add_option("--classes", bench.classes, "labels with the background");
  command->add_option("--in-channels", bench.channels, "channels of the input");
  command->add_option("--input", bench.input, "size of the volume or patch: X,Y,Z");
  command->add_option("--device", bench.options.device, "auto, cpu, cuda:0");
  command->add_option("--precision", bench.options.precision, "fp32, bf16 or fp16");
  command->add_option("--rounds", bench.options.rounds, "counted rounds after a warm-up")
      ->check(CLI::Range(1, 1000));
}

}  // namespace

void add_bench_command(CLI::App& app, const GlobalOptions& globals) {
  CLI::App* command =
      app.add_subcommand("bench", "measure one training step or one inference; prints JSON");
  command->require_subcommand(1);
  auto bench = std::make_shared<BenchCommand>();
  CLI::App* step = command->add_subcommand("step", "seconds and peak bytes of an optimizer step");
  add_common_options(step, *bench);
  step->add_option("--batch", bench->options.batch, "samples in the mini-batch")
      ->check(CLI::Range(1, 4096));
  step->callback([bench, &globals] { print_json(bench_step(bench->resolved(globals))); });
  CLI::App* segment =
      command->add_subcommand("segment", "seconds and peak bytes of the logits of one volume");
  add_common_options(segment, *bench);
  segment->add_option("--patch", bench->patch, "whole, or the window X,Y,Z");
  segment->add_option("--overlap", bench->overlap, "of windows, from 0 to below 1");
  segment->add_option("--blend", bench->blend, "gaussian or constant");
  segment->callback([bench, &globals] { print_json(bench_segment(bench->resolved(globals))); });
}

}  // namespace lamp
