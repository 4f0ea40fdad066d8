// Whether a folder may become a run, or is one: nothing that this program did not write is ever
// overwritten.
#pragma once

#include <filesystem>
#include <string>

#include "lamp/base/json.h"
#include "lamp/dataset/datalist.h"

namespace lamp {

enum class RunPlace {
  kFree,   // not there, or empty
  kBegun,  // a run that has saved nothing yet
  kSaved   // a run with a state to go on from
};

// The path to work with: no trailing slash, no "." in it. Throws UsageError for an empty one.
std::filesystem::path plain_run_path(const std::filesystem::path& run);

// Looks, and touches nothing. A run is known by its run.json, or, from before there was one, by its
// config.json, state/ and the fingerprint of its data in dataset.json. Throws UsageError that names
// what it found for anything else that is not empty, and for a run that was trained and has lost
// its state or has a link, a pipe or the like in the place of a file that training replaces.
RunPlace judge_run_place(const std::filesystem::path& run);

// A run's folder may hold files of others under the names that training writes: networks, values
// of the data and, unless `has_rows` (check_metrics of run_state.h looks at those), metrics.csv.
// Throws UsageError that names the first that this program did not write.
void refuse_foreign_files(const std::filesystem::path& run, bool has_rows);

// nnU-Net's list of folds carries no mark: the one in a run's folder is its own if it is what
// training is about to write (`folds`; null = none). Throws UsageError for any other.
void refuse_other_folds(const std::filesystem::path& run, const Json& folds);

// The folder is a run from now on.
void mark_run_folder(const std::filesystem::path& run);
// And has saved a state from now on: what it has trained is never taken for that of a run that was
// killed before its first save.
void mark_run_saved(const std::filesystem::path& run);

// Whether `json` is the fingerprint of the data that runs kept in dataset.json until
// data_fingerprint.json.
bool is_old_fingerprint(const Json& json);

// Throws UsageError if a folder would lie among the files of the data set, where they would be
// mixed up with it. `dataset` is what was asked for: a folder or a JSON file. `setting` is what
// named the folder, for the message: the run's, or another's.
void refuse_place_in_dataset(const std::filesystem::path& place,
                             const std::filesystem::path& dataset,
                             const std::string& setting = "output");
void refuse_place_in_dataset(const std::filesystem::path& place, const Dataset& dataset,
                             const std::string& setting = "output");

}  // namespace lamp
