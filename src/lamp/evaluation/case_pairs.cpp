// Folders are listed once and sorted, so that results come in the same order everywhere.
#include "lamp/evaluation/case_pairs.h"

#include <map>

#include "lamp/base/errors.h"
#include "lamp/base/log.h"
#include "lamp/data/volume_io.h"

namespace lamp {
namespace {

namespace fs = std::filesystem;

bool is_label_map(const fs::path& file) {
  return fs::is_regular_file(file) && !file.filename().string().starts_with('.') &&
         is_volume_file(file) && !case_name(file).ends_with("_prob");
}

std::map<std::string, fs::path> label_maps(const fs::path& folder) {
  std::map<std::string, fs::path> found;
  for (const auto& entry : fs::directory_iterator(folder)) {
    if (!is_label_map(entry.path())) continue;
    const auto [other, added] = found.emplace(case_name(entry.path()), entry.path());
    if (!added)
      throw InputError("a case twice", entry.path().string(),
                       "found " + other->second.filename().string() +
                           " too, expected one file a case; move one of them away");
  }
  if (found.empty())
    throw InputError("no label maps", folder.string(),
                     "found none, expected files such as case.nii.gz; name their folder");
  return found;
}

bool is_folder(const fs::path& path, const char* what) {
  std::error_code error;
  const auto status = fs::status(path, error);
  if (!fs::exists(status))
    throw InputError(std::string("missing ") + what, path.string(),
                     "found nothing, expected a folder of label maps or one file; check the path");
  return fs::is_directory(status);
}

}  // namespace

std::vector<CasePair> pair_cases(const fs::path& prediction, const fs::path& reference) {
  const bool folders = is_folder(reference, "reference");
  if (is_folder(prediction, "prediction") != folders)
    throw UsageError(
        "evaluate: found a folder and a file, expected two folders or two files; "
        "name both alike with -p and -r");
  if (!folders) return {{case_name(reference), prediction, reference}};
  auto predictions = label_maps(prediction);
  std::vector<CasePair> pairs;
  for (const auto& [name, file] : label_maps(reference)) {
    const auto found = predictions.extract(name);
    pairs.push_back({name, found ? found.mapped() : fs::path(), file});
  }
  for (const auto& [name, file] : predictions)
    log_warning("no reference for " + file.string() + ": left out");
  return pairs;
}

}  // namespace lamp
