// `lamp bench input`: rates of the loader on a data set, and whether a device waits for it.
#include <memory>
#include <string>
#include <vector>

#include "lamp/cli/commands.h"
#include "lamp/cli/dataset_options.h"
#include "lamp/training/bench_input.h"
#include "lamp/training/train_config.h"

namespace lamp {
namespace {

struct BenchInputLine {
  InputBenchOptions bench;
  std::string dataset, config, device;
  std::vector<std::string> settings;
  double step_seconds = 0;
};

void run_bench_input(const BenchInputLine& options, const GlobalOptions& globals) {
  InputBenchOptions bench = options.bench;
  check_settings(options.settings);
  std::vector<std::string> settings = options.settings;
  if (!options.device.empty()) settings.push_back("execution.device=\"" + options.device + "\"");
  if (globals.seed) settings.push_back("seed=" + std::to_string(*globals.seed));
  bench.dataset = options.dataset;
  bench.config = read_config(options.config, settings);
  if (options.step_seconds > 0) bench.step_seconds = options.step_seconds;
  print_json(bench_input(bench));
}

}  // namespace

void add_bench_input_command(CLI::App& bench, const GlobalOptions& globals) {
  CLI::App* command = bench.add_subcommand(
      "input", "volumes and patches per second, and whether the device waits for them");
  auto options = std::make_shared<BenchInputLine>();
  command
      ->add_option("-d,--dataset", options->dataset, "folder with dataset.json, or the file itself")
      ->required();
  command->add_option("-c,--config", options->config, "JSON file or preset: han, liver, demo")
      ->required();
  command
      ->add_option("--set", options->settings,
                   "key=value, such as loader.threads=4; may be repeated")
      ->allow_extra_args(false);
  command->add_option("--device", options->device, "auto, cpu, cuda:0, or several as stages");
  command->add_option("--stage", options->bench.stage, "of the curriculum, from 1 on");
  command->add_option("--rounds", options->bench.rounds, "counted rounds after a warm-up")
      ->check(CLI::Range(1, 1000));
  command->add_option("--batches", options->bench.batches, "a round; 0 = an epoch's, 4 to 16")
      ->check(CLI::Range(0, 1000000));
  command->add_option("--cases", options->bench.cases, "only the first so many; 0 = all")
      ->check(CLI::Range(0, 1000000));
  command
      ->add_option("--step-seconds", options->step_seconds,
                   "how long the device is busy with a batch; measured if not given")
      ->check(CLI::PositiveNumber);
  add_outside_option(*command);
  command->callback([options, &globals] { run_bench_input(*options, globals); });
}

}  // namespace lamp
