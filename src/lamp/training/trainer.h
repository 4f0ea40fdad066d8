// `lamp train`: the curriculum from the first patch to the last whole volume, in a run folder that
// can be left at any moment and taken up again with the same result, to the last bit.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "lamp/base/json.h"

namespace lamp {

struct TrainRequest {
  std::filesystem::path dataset;      // folder or dataset.json; may be empty with resume
  std::optional<Json> config;         // none = the run's own, where there is one
  std::vector<std::string> settings;  // "optimizer.lr=1e-4": on top of the configuration
  std::filesystem::path run;          // the run folder (docs/formats.md)
  std::filesystem::path plan;         // of `lamp plan -o`, to be run as it is; may be empty
  bool resume = false;
  int threads = 0;  // asked for, CPU threads in all; 0 = a given plan's or the run's own
};

struct TrainSummary {
  std::int64_t epochs = 0;
  double loss = 0;        // of the last step
  double best_dice = -1;  // -1 = never validated
  std::filesystem::path best;
};

// Throws UsageError (configuration), InputError (data), Interrupted (SIGINT or SIGTERM, after
// saving), Error (a loss or gradient that is not finite, naming the layer; a full disk). Whatever
// it throws, the last saved state is whole; and where it refuses to start, the run folder is as it
// was. What a resume may change: resume_rules.h.
TrainSummary train(const TrainRequest& request);

}  // namespace lamp
