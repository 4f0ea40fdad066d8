// Known by contents, never by name alone.
#include "lamp/training/run_place.h"

#include <algorithm>
#include <set>
#include <string>
#include <vector>

#include "lamp/base/csv.h"
#include "lamp/base/errors.h"
#include "lamp/base/files.h"
#include "lamp/base/json.h"
#include "lamp/base/output_lock.h"
#include "lamp/base/own_output.h"
#include "lamp/base/safe_path.h"
#include "lamp/base/setting_name.h"
#include "lamp/base/text.h"
#include "lamp/dataset/taken_place.h"
#include "lamp/nets/model_file.h"
#include "lamp/training/data_survey.h"
#include "lamp/training/nnunet_folds.h"
#include "lamp/training/run_state.h"

namespace lamp {
namespace fs = std::filesystem;
namespace {

constexpr std::size_t kShownNames = 5;

bool is_marked(const fs::path& run) { return !run_mark(run).is_null(); }

bool is_old_run(const fs::path& run) {
  std::error_code error;
  return fs::is_directory(run / "state", error) &&
         json_in(run / "config.json", std::size_t{256} << 20).is_object() &&
         is_old_fingerprint(json_in(run / "dataset.json", std::size_t{256} << 20));
}

std::vector<std::string> names_in(const fs::path& folder) {
  std::vector<std::string> names;
  std::error_code error;
  for (fs::directory_iterator at(folder, error), end; !error && at != end; at.increment(error))
    names.push_back(at->path().filename().string() + (at->is_directory() ? "/" : ""));
  if (error)
    throw UsageError("train: " + setting_to("output", folder.string()) +
                     ": cannot be read: " + error.message() + "; choose another folder");
  std::sort(names.begin(), names.end());
  return names;
}

// Without what a start that was killed leaves behind.
std::vector<std::string> foreign_names(const fs::path& run) {
  std::vector<std::string> names = names_in(run);
  std::erase_if(names, [&](const std::string& name) {
    std::error_code error;
    const fs::path path = run / name;
    if (is_lock_file(path)) return true;
    if (name == "state/") {
      const auto inside = names_in(run / "state");
      return std::all_of(inside.begin(), inside.end(), is_temporary_name);
    }
    if (!is_temporary_name(name)) return false;
    const fs::file_type type = fs::symlink_status(path, error).type();
    return type == fs::file_type::regular || type == fs::file_type::not_found;  // renamed meanwhile
  });
  return names;
}

std::string kind_of(const fs::path& folder, const std::vector<std::string>& names) {
  const auto has = [&](const char* name) {
    return std::find(names.begin(), names.end(), name) != names.end();
  };
  if (has("imagesTr/") || has("labelsTr/") || has("dataset.json")) return "a data set: ";
  const bool all_volumes = std::all_of(names.begin(), names.end(), [&](const std::string& name) {
    return is_volume_file(folder / name);
  });
  return all_volumes ? "images: " : "";
}

std::string list(const fs::path& folder, const std::vector<std::string>& names) {
  return kind_of(folder, names) + joined_first(names, kShownNames);
}

[[noreturn]] void refuse_place(const fs::path& run, const std::string& found) {
  throw UsageError("train: " + setting_to("output", run.string()) + ": found " + found +
                   ", expected a new or empty folder or a run of lamp train; choose another "
                   "folder, nothing was written");
}

// The first file that training alone writes; empty if there is none.
std::string trained_file(const fs::path& run) {
  std::error_code error;
  for (const char* name : {"best.safetensors", "last.safetensors"})
    if (fs::exists(run / name, error)) return name;
  const fs::path metrics = run / "metrics.csv";
  if (!fs::is_regular_file(metrics, error)) return "";
  const std::string text = read_file(metrics);
  return csv_records(text).size() > 1 ? "metrics.csv" : "";  // more than its header
}

// A run that was killed before its first save leaves such files, too, beside the empty state/ that
// it began with: they are no loss. Those of a run that has saved are.
void refuse_lost_state(const fs::path& run) {
  std::error_code error;
  const std::string trained = trained_file(run);
  if (trained.empty()) return;
  const Json mark = run_mark(run);
  const bool has_saved = mark.is_object() && mark.value("saved", Json()) == true;
  if (fs::is_directory(run / "state", error) && !has_saved) return;
  throw UsageError("train: " + setting_to("output", run.string()) +
                   ": found what a run has trained (" + trained +
                   ") without the state to go on from (" + state_file(run).string() +
                   "); put state/ back or choose another folder, nothing was written");
}

// What stands under the names of the files that training replaces, and is no file: a rename over it
// would lose it.
void refuse_no_files(const fs::path& run) {
  std::error_code error;
  for (const char* name :
       {kRunMarkFile, "best.safetensors", "last.safetensors", "metrics.csv", "config.json",
        "data_fingerprint.json", "split.json", "plan.json", "state/state.safetensors"}) {
    const fs::file_status status = fs::symlink_status(run / name, error);
    if (!fs::exists(status) || fs::is_regular_file(status)) continue;
    throw UsageError("train: " + setting_to("output", run.string()) + ": found " +
                     (fs::is_symlink(status)     ? "a link"
                      : fs::is_directory(status) ? "a folder"
                                                 : "a pipe, socket or device") +
                     " in the place of its file " + name +
                     ", expected a file, which training replaces; put a file there or choose "
                     "another folder, nothing was written");
  }
}

[[noreturn]] void refuse_inside(const fs::path& place, const fs::path& folder,
                                const std::string& setting) {
  throw UsageError("train: " + setting_to(setting, place.string()) +
                   ": found a place among the files of the data set (" + folder.string() +
                   "), expected one of its own; choose another folder");
}

}  // namespace

fs::path plain_run_path(const fs::path& run) {
  if (run.empty())
    throw UsageError("train: " + setting_name("output") +
                     ": found an empty name, expected the run folder");
  fs::path plain = run.lexically_normal();
  if (!plain.has_filename() && plain.has_relative_path()) plain = plain.parent_path();
  return plain;
}

bool is_old_fingerprint(const Json& json) {
  if (!json.is_object() || !json.value("path", Json()).is_string() ||
      !json.value("labels", Json()).is_object() || !json.value("training", Json()).is_array())
    return false;
  const Json rows = json["training"];
  return std::all_of(rows.begin(), rows.end(), [](const Json& row) {
    return row.is_object() && row.value("name", Json()).is_string() &&
           row.value("bytes", Json()).is_number_integer();
  });
}

RunPlace judge_run_place(const fs::path& run) {
  std::error_code error;
  const fs::file_status status = fs::status(run, error);
  if (!fs::exists(status)) {
    if (fs::is_symlink(fs::symlink_status(run, error))) refuse_place(run, "a link to nothing");
    return RunPlace::kFree;
  }
  if (!fs::is_directory(status)) refuse_place(run, "no folder");
  if (is_marked(run) || is_old_run(run)) {
    refuse_no_files(run);
    if (fs::exists(state_file(run), error)) return RunPlace::kSaved;
    refuse_lost_state(run);
    return RunPlace::kBegun;
  }
  const auto names = foreign_names(run);
  if (!names.empty()) refuse_place(run, list(run, names));
  return names_in(run).empty() ? RunPlace::kFree : RunPlace::kBegun;
}

void refuse_foreign_files(const fs::path& run, bool has_rows) {
  const std::string option = "train: " + setting_name("output");
  OutputList files;
  for (const char* name : {"best.safetensors", "last.safetensors"})
    files.add({option, run / name, own_model()});
  files.add({option, run / kSurveyFile, own_survey()});
  if (!has_rows)
    files.add({option, run / "metrics.csv", [](const fs::path& file) {
                 const std::string text = read_file(file);
                 return text.empty() || text.starts_with("epoch,stage,");
               }});
  files.check();
}

void refuse_other_folds(const fs::path& run, const Json& folds) {
  std::error_code error;
  const fs::path file = run / kFoldsFile;
  const fs::file_status status = fs::symlink_status(file, error);
  if (folds.is_null() || !fs::exists(status)) return;
  if (fs::is_regular_file(status) &&
      Json::parse(read_file(file), nullptr, /*allow_exceptions=*/false) == folds)
    return;
  throw UsageError("train: " + setting_to("output", run.string()) + ": found a " + kFoldsFile +
                   " that holds other folds than those of this run, expected none or the same; "
                   "move it away or choose another folder, nothing was written");
}

void mark_run_folder(const fs::path& run) {
  if (is_marked(run)) return;
  write_file(run / kRunMarkFile,
             dump_json({{"format", kRunFormat},
                        {"version", 1},
                        {"about", "lamp train writes to this folder and replaces its files"}}) +
                 "\n");
}

void mark_run_saved(const fs::path& run) {
  Json mark = run_mark(run);
  if (mark.is_null() || mark.value("saved", Json()) == true) return;
  mark["saved"] = true;
  write_file(run / kRunMarkFile, dump_json(mark) + "\n");
}

void refuse_place_in_dataset(const fs::path& place, const fs::path& dataset,
                             const std::string& setting) {
  std::error_code error;
  const fs::path root =
      real_path(fs::is_directory(dataset, error) ? dataset : fs::absolute(dataset).parent_path());
  const fs::path real_place = real_path(place);
  if (real_place == root) refuse_inside(place, root, setting);
  for (const char* name : kCaseFolders)
    if (lies_inside(root / name, real_place)) refuse_inside(place, root / name, setting);
}

void refuse_place_in_dataset(const fs::path& place, const Dataset& dataset,
                             const std::string& setting) {
  refuse_place_in_dataset(place, dataset.file, setting);
  const fs::path root = real_path(dataset.root);
  const fs::path real_place = real_path(place);
  std::set<fs::path> folders;
  for (const auto* entries : {&dataset.training, &dataset.validation, &dataset.test}) {
    for (const Case& entry : *entries) {
      for (const fs::path& image : entry.images) folders.insert(image.parent_path());
      if (!entry.label.empty()) folders.insert(entry.label.parent_path());
    }
  }
  for (const fs::path& folder : folders) {
    const fs::path real = real_path(folder);
    // A folder of its own beside dataset.json is in nobody's way.
    if (real_place == real || (!lies_inside(real, root) && lies_inside(real, real_place)))
      refuse_inside(place, real, setting);
  }
}

}  // namespace lamp
