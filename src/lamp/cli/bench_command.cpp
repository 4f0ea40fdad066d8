// `lamp bench step|segment`: one measurement, printed as JSON. `lamp bench input` has a file of its
// own.
#include <cstdlib>
#include <memory>
#include <utility>

#include "lamp/cli/commands.h"
#include "lamp/cli/network_options.h"
#include "lamp/processes/launch.h"
#include "lamp/training/bench.h"
#include "lamp/training/bench_processes.h"
#include "lamp/training/bench_wish.h"

namespace lamp {
namespace {

struct BenchLine {
  NetOptions net;
  ExecutionOptions execution;
  BenchWish wish;

  BenchWish words(const GlobalOptions& globals) const {
    BenchWish words = wish;
    words.net = to_json(net);
    words.execution = to_json(execution);
    words.seed = globals.seed_or_zero();
    return words;
  }
};

void add_common_options(CLI::App* command, BenchLine& bench) {
  add_options(*command, bench.net);
  command->add_option("--input", bench.wish.input,
                      "size of the volume or patch: X,Y,Z; default 64,64,64");
  command->add_option("--device", bench.execution.device,
                      "auto, cpu, cuda:0 or several as pipeline stages, cpu,cpu");
  command->add_option("--rounds", bench.wish.rounds, "counted rounds after a warm-up")
      ->check(CLI::Range(1, 1000));
}

void run_bench_step(const BenchLine& bench, const GlobalOptions& globals) {
  const auto environment = [](const char* name) -> const char* { return std::getenv(name); };
  const auto launch = read_launch(environment, host_name());
  BenchOptions options = parse_bench_wish(bench.words(globals));
  if (!launch) return print_json(bench_step(options));
  const auto report = bench_step(
      *launch,
      {.options = std::move(options), .version = LAMP_VERSION, .has_threads = globals.threads > 0});
  if (report) print_json(*report);
}

}  // namespace

void add_bench_command(CLI::App& app, const GlobalOptions& globals) {
  CLI::App* command = app.add_subcommand(
      "bench", "measure one training step, one inference or the input; prints JSON");
  command->require_subcommand(1);
  auto bench = std::make_shared<BenchLine>();
  CLI::App* step = command->add_subcommand("step", "seconds and peak bytes of an optimizer step");
  add_common_options(step, *bench);
  step->add_option("--batch", bench->wish.batch, "samples in the mini-batch; default 1")
      ->check(CLI::Range(1, 4096));
  add_options(*step, bench->execution);
  step->add_option("--plan", bench->wish.plan, "run exactly what lamp plan -o wrote here")
      ->check(CLI::ExistingFile);
  step->callback([bench, &globals] { run_bench_step(*bench, globals); });
  CLI::App* segment =
      command->add_subcommand("segment", "seconds and peak bytes of the logits of one volume");
  add_common_options(segment, *bench);
  segment->add_option("--precision", bench->execution.precision, "fp32, bf16, fp16 or auto");
  segment->add_option("--layout", bench->execution.layout,
                      "auto (measured), channels_last or contiguous");
  segment->add_option("--split", bench->execution.split,
                      "replicas=R,stages=K,slabs=L: replicas share windows, slabs share the planes "
                      "of each; default: every device is a stage");
  segment->add_option("--patch", bench->wish.patch, "whole, or the window X,Y,Z");
  segment
      ->add_option(
          "--plan", bench->wish.plan,
          "network, device, split, precision, layout and threads of what lamp plan -o wrote")
      ->check(CLI::ExistingFile);
  segment->add_option("--overlap", bench->wish.overlap, "of windows, from 0 to below 1");
  segment->add_option("--blend", bench->wish.blend, "gaussian or constant");
  segment->callback(
      [bench, &globals] { print_json(bench_segment(parse_segment_wish(bench->words(globals)))); });
  add_bench_input_command(*command, globals);
}

}  // namespace lamp
