// Copies of a data set with annotations taken away, to measure what missing annotations cost and
// what it helps to tell the loss of them (the paper's section 2.3).
#pragma once

#include <cstdint>
#include <filesystem>

#include "lamp/dataset/datalist.h"

namespace lamp {

struct HideOptions {
  double share = 0;  // of the labels of the training cases that are hidden, [0, 1)
  // Share of the cases that keep everything, [0, 1 - share); the others lose the more. 0: every
  // label of every case is hidden with the probability `share`.
  double complete = 0;
  std::uint64_t seed = 0;
  // Whether the copy says what was hidden ("annotated"); if not, it passes for background.
  bool declared = true;
  std::filesystem::path folder;  // new, or what an earlier call wrote
};

// Writes dataset.json (Decathlon) and labelsTr into the folder; images and test labels stay where
// they are and are referred to, wherever that is: this process trusts the copy (dataset_paths.h).
// The same (seed, case, label) is hidden whatever `declared` says,
// and what is hidden at a smaller share is hidden at a larger one too. At least one label of a case
// stays. Returns the JSON. Throws InputError for cases that cannot be read, UsageError for files in
// the folder that somebody has changed or put there, and Error if the disk refuses.
std::filesystem::path hide_annotations(const Dataset& dataset, const HideOptions& options);

}  // namespace lamp
