// Which files make up a data set. Three dialects of dataset.json are told apart by their contents,
// never asked for: Medical Segmentation Decathlon, nnU-Net v2 and MONAI datalists.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "lamp/base/errors.h"
#include "lamp/formats/volume_io.h"

namespace lamp {

struct Case {
  std::string name;  // unique among training and validation, and among the test cases
  std::vector<std::filesystem::path> images;  // one file with every channel, or one file a channel
  std::filesystem::path label;                // empty = none
  std::optional<std::vector<int>>
      annotated;            // label ids that were looked for, ascending; none = all
  std::optional<int> fold;  // MONAI: which cross-validation part it belongs to
};

// How many cases the file says that it has, and how many it lists, those with faults included.
struct CaseCount {
  std::optional<std::int64_t> declared;
  std::int64_t listed = 0;
};

struct Dataset {
  std::string name;
  std::filesystem::path file;         // the JSON
  std::filesystem::path root;         // its folder, from which relative paths start
  std::map<int, std::string> labels;  // consecutive ids from 0, which is the background
  std::vector<std::string> channels;  // names of the input channels; empty if the file does not say
  std::vector<Case> training, validation, test;
  CaseCount training_count, test_count;  // numTraining, numTest
  std::vector<std::string> notes;        // what was read differently from how it was written
};

// Reads `folder`/dataset.json (or the only JSON in the folder), or the JSON given. Opens no volume,
// with one exception: a MONAI datalist without "labels" gets them from its label files. Faults of
// the whole file (not JSON, no usable labels, no cases) throw InputError. A fault of one entry
// (missing key, wrong type, a case named twice, undeclared annotated ids) throws too, unless
// `faults` is given: then it is appended and the entry left out (kept, if only "annotated" is
// wrong). Whether listed files exist shows when they are read, or in check_dataset. Names of cases
// may become names of files, so fault_of_name of base/safe_path.h holds for them; files outside the
// list's folder are refused unless they are allowed (dataset_paths.h).
Dataset read_dataset(const std::filesystem::path& folder_or_json,
                     std::vector<Fault>* faults = nullptr);

// Throws InputError if there is none.
void require_training_cases(const Dataset& dataset);

// The labels that were looked for in a case, ascending, without the background.
std::vector<int> annotated_ids(const Case& entry, const Dataset& dataset);

}  // namespace lamp
