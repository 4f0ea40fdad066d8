// Which cases are trained on and which are held out for validation.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "lamp/base/json.h"
#include "lamp/dataset/datalist.h"
#include "lamp/training/train_config.h"

namespace lamp {

struct CaseSplit {
  std::vector<std::size_t> training;    // indices, ascending
  std::vector<std::size_t> validation;  // likewise
  std::string origin;                   // in words: "fold 1 of splits_final.json"
  Json folds;  // all folds as nnU-Net writes them, where one of them was taken
};

// Moves the data set's own validation cases, where it names some, behind its training cases.
// Otherwise, with a fold asked for: the cases whose "fold" it is, the fold of the data set's
// splits_final.json, or of the one that nnU-Net would make. Otherwise as split_cases does. Throws
// UsageError for a fold that there is not.
CaseSplit split_dataset(Dataset& dataset, const ValidationConfig& config, std::uint64_t seed);

// Indices into the data set's training cases. Without a fold: a share of at least one case (if the
// fraction is not zero and two cases are there), drawn by the seed. With one: the cases' own
// "fold".
CaseSplit split_cases(const std::vector<Case>& cases, const ValidationConfig& config,
                      std::uint64_t seed);

// {"origin", "training": [names], "validation": [names]}: the run's split.json.
Json to_json(const CaseSplit& split, const Dataset& dataset);

// SHA-256 of who is trained on and who is held out.
std::string split_digest(const CaseSplit& split, const Dataset& dataset);

// The first few names of the held-out cases, for the log.
std::string held_out_text(const CaseSplit& split, const Dataset& dataset);

}  // namespace lamp
