// `lamp experiment`: the paper's tables, on phantoms for everyone and on the real data for those
// who have it. Every finished cell (one condition with one seed, one timing, one control) is kept,
// so that an experiment can be stopped at any moment and goes on where it was.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "lamp/base/json.h"

namespace lamp {

struct ExperimentRequest {
  std::string preset = "context";  // context | size | speed | missing, or a JSON file
  std::string scale = "small";     // small | full; of a preset
  std::filesystem::path folder;
  std::filesystem::path dataset;  // real data; empty = the experiment's phantoms
  std::string device = "auto";
  std::vector<std::string> settings;  // "train.optimizer.lr=1e-4": changes of the experiment's JSON
};

// Writes into the folder, after every cell anew: results.md, results.csv, results.json and plots;
// beside them cells/, runs/, predictions/ and data/. Returns results.json. Throws UsageError for an
// unknown preset or settings that make no sense, InputError for a data set without test labels,
// Interrupted after a signal (finished cells are kept, an open training run has saved its state).
Json run_experiment(const ExperimentRequest& request);

}  // namespace lamp
