// One cell of a Dice table: train with one seed, segment the test cases, compare.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "lamp/base/json.h"
#include "lamp/experiment/experiment_spec.h"

namespace lamp {

struct DiceCell {
  std::string name;  // condition and seed
  Json settings;     // all that the run depends on
  Condition condition;
  std::uint64_t seed = 0;
  std::filesystem::path dataset;     // dataset.json to train on
  std::filesystem::path references;  // the test cases' label maps
  std::filesystem::path run;         // run folder of this cell
  std::filesystem::path starts_run;  // a finished run to go on with; empty = none
  std::filesystem::path predictions;
  std::string device;
};

// {"dice": {label: mean over the test cases}, "average", "missed", "train_seconds",
// "network_seconds": [per test case], "steps"}. A run that was interrupted goes on where it was.
// Throws what train(), segment_all() and evaluate_folders() throw; a failed case is an error.
Json run_dice_cell(const DiceCell& cell);

}  // namespace lamp
