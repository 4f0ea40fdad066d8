// Looked at from the folder upwards, with links followed.
#include "lamp/dataset/taken_place.h"

#include <algorithm>

#include "lamp/base/errors.h"
#include "lamp/base/files.h"
#include "lamp/base/safe_path.h"

namespace lamp {
namespace fs = std::filesystem;
namespace {

constexpr std::size_t kLargestMark = 1 << 20;  // bytes
constexpr std::size_t kLargestList = std::size_t{256} << 20;

// Also one of before there were marks.
bool is_run(const fs::path& folder) {
  std::error_code error;
  return !run_mark(folder).is_null() ||
         (fs::is_regular_file(folder / "state" / "state.safetensors", error) &&
          fs::is_regular_file(folder / "config.json", error));
}

bool has_case_folders(const fs::path& folder) {
  std::error_code error;
  return fs::exists(folder / "dataset.json", error) &&
         std::any_of(kCaseFolders.begin(), kCaseFolders.end(), [&](const char* name) {
           std::error_code unknown;
           return fs::is_directory(folder / name, unknown);
         });
}

// nnU-Net puts a dataset.json without cases beside its predictions.
bool lists_cases(const fs::path& folder) {
  const Json list = json_in(folder / "dataset.json", kLargestList);
  return list.is_object() && list.value("training", Json()).is_array();
}

}  // namespace

Json json_in(const fs::path& file, std::size_t limit_bytes) {
  std::error_code error;
  if (!fs::is_regular_file(file, error)) return {};
  try {
    return parse_json(read_file(file, limit_bytes), file.string());
  } catch (const InputError&) {
    return {};
  }
}

Json run_mark(const fs::path& folder) {
  Json mark = json_in(folder / kRunMarkFile, kLargestMark);
  if (!mark.is_object() || mark.value("format", Json()) != kRunFormat) return {};
  return mark;
}

void refuse_taken_place(const fs::path& folder, const std::string& option, ResultsAre results) {
  const fs::path place = real_path(folder.empty() ? fs::path(".") : folder);
  const auto refuse = [&](const std::string& what, const fs::path& owner) {
    throw UsageError(option + ": found a place among the files of " + what + " (" + owner.string() +
                     "), expected one of its own; choose another folder");
  };
  const bool root_is_free = results == ResultsAre::kSingleFile;
  if (!root_is_free && lists_cases(place)) refuse("a data set", place);
  fs::path below;  // the name, in `at`, of the folder that leads to the place
  for (fs::path at = place;; at = at.parent_path()) {
    if ((below.empty() || below == "state") && is_run(at)) refuse("a run", at);
    const bool in_cases =
        std::find(kCaseFolders.begin(), kCaseFolders.end(), below.string()) != kCaseFolders.end();
    if (((below.empty() && !root_is_free) || in_cases) && has_case_folders(at))
      refuse("a data set", at);
    if (!at.has_relative_path()) return;
    below = at.filename();
  }
}

}  // namespace lamp
