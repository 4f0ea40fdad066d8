// `lamp bench step` over the processes that a launcher has started: each runs one row of the grid
// of replicas, stages and slabs, with its own device and its share of its machine's cores.
#pragma once

#include <optional>
#include <string>

#include "lamp/base/json.h"
#include "lamp/processes/launch.h"
#include "lamp/training/bench.h"

namespace lamp {

struct ProcessBench {
  BenchOptions
      options;  // of them execution.device is this process's; without a split all are stages
  std::string version;       // of the program
  bool has_threads = false;  // the user has said how many threads a process has
};

// Rank 0 decides and gets the report, as of one process, with "processes", and "peak_bytes" of each
// rank; the others get nothing. Throws UsageError where the split is not the world's or a process
// has several devices, before any connection; WorldFailed where another process fails.
std::optional<Json> bench_step(const Launch& launch, const ProcessBench& bench);

}  // namespace lamp
