// `lamp bench input`: how fast a data set turns into batches, and whether a device that trains on
// them has to wait.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>

#include "lamp/base/json.h"

namespace lamp {

struct InputBenchOptions {
  std::filesystem::path dataset;       // folder or dataset.json
  Json config;                         // a training configuration
  std::int64_t stage = 1;              // of the curriculum, from 1 on
  int rounds = 3;                      // counted, after one warm-up
  std::int64_t batches = 0;            // a round; 0 = an epoch's, 4 to 16
  std::int64_t cases = 0;              // the first so many of the training cases; 0 = all
  std::optional<double> step_seconds;  // none = one training step of this network is measured
};

// In docs/commands.md: "volumes_per_second" are read and prepared, "patches_per_second" cut and
// augmented from prepared ones, both on the loader's threads, and "peak_bytes" of tensors. Beside
// them "cold" (every case prepared, into an empty cache of its own that is removed afterwards),
// "warm" (every case from that cache, in a new store), "rounds" and "device": the share of the time
// that a consumer, busy for as long as a training step takes, waits for its next batch. On the CPU
// the consumer takes its cores away from the loader, as training does.
Json bench_input(const InputBenchOptions& options);

}  // namespace lamp
