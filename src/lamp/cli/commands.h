// The program's commands, one file each: options, one library call, printing. No logic lives here.
#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <optional>

#include "lamp/base/json.h"

namespace lamp {

// Options that every command takes, before or after its name.
struct GlobalOptions {
  bool json = false;  // exactly one JSON document on stdout
  bool quiet = false;
  bool verbose = false;
  std::optional<std::uint64_t> seed;
  int threads = 0;  // CPU threads in all; 0 = OMP_NUM_THREADS or every core

  std::uint64_t seed_or_zero() const { return seed.value_or(0); }
};

// Prints one JSON document on stdout.
void print_json(const Json& value);

// Each adds one subcommand whose callback does the work; `globals` outlives the parse and is filled
// before it runs.
void add_bench_command(CLI::App& app, const GlobalOptions& globals);
void add_bench_input_command(CLI::App& bench, const GlobalOptions& globals);  // below `bench`
void add_check_command(CLI::App& app, const GlobalOptions& globals);
void add_evaluate_command(CLI::App& app, const GlobalOptions& globals);
void add_experiment_command(CLI::App& app, const GlobalOptions& globals);
void add_info_command(CLI::App& app, const GlobalOptions& globals);
void add_plan_command(CLI::App& app, const GlobalOptions& globals);
void add_prepare_command(CLI::App& app, const GlobalOptions& globals);
void add_segment_command(CLI::App& app, const GlobalOptions& globals);
void add_simulate_command(CLI::App& app, const GlobalOptions& globals);
void add_synth_command(CLI::App& app, const GlobalOptions& globals);
void add_train_command(CLI::App& app, const GlobalOptions& globals);

}  // namespace lamp
