// Folders are listed once and sorted, so that results come in the same order everywhere.
#include "lamp/evaluation/case_pairs.h"

#include <map>
#include <system_error>

#include "lamp/base/errors.h"
#include "lamp/base/log.h"
#include "lamp/base/output_lock.h"
#include "lamp/base/own_output.h"
#include "lamp/base/setting_name.h"
#include "lamp/base/text.h"
#include "lamp/base/unicode_form.h"
#include "lamp/evaluation/summary.h"
#include "lamp/formats/folder_content.h"
#include "lamp/formats/volume_io.h"
#include "lamp/preview/png.h"

namespace lamp {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kMostNamed = 10;

// What `lamp segment --save-probabilities` writes beside its label maps. A label map may be named
// so too: then it has one channel.
bool holds_probabilities(const fs::path& file) {
  if (!case_name(file).ends_with("_prob")) return false;
  try {
    return read_volume_header(file).channels > 1;
  } catch (const InputError&) {  // said when it is compared
    return false;
  }
}

// What segment and evaluate put beside label maps.
bool is_own_output(const fs::path& file) {
  std::error_code error;
  if (!fs::is_regular_file(fs::symlink_status(file, error))) return false;
  const std::string extension = file.extension().string();
  if (extension == ".json") return own_json_of_any()(file);
  if (extension == ".png") return own_png()(file);
  if (extension == ".csv") return own_metrics_table()(file);
  return is_lock_file(file);
}

// Images first in words; the rest in one line, but for what LAMP itself wrote there.
void tell_left_out(const std::vector<LeftOut>& left_out, const fs::path& folder) {
  std::vector<std::string> others;
  for (const LeftOut& file : one_a_series(left_out)) {
    if (file.is_image)
      log_warning(file.describe());
    else if (!is_own_output(file.file))
      others.push_back(file.file.filename().string());
  }
  if (!others.empty())
    log_info("no label maps, left out of " + folder.string() + ": " +
             joined_first(others, kMostNamed));
}

enum class Role { kPrediction, kReference };

std::map<std::string, fs::path> label_maps(const fs::path& folder, Role role) {
  FolderContent content = list_folder(folder);
  std::map<std::string, fs::path> found;
  for (const fs::path& file : content.volumes) {
    if (std::error_code error; fs::is_directory(file, error)) {
      content.left_out.push_back({file, "a folder of DICOM slices, no label map", true});
      continue;
    }
    if (role == Role::kPrediction && holds_probabilities(file)) {
      content.left_out.push_back({file, "probabilities, no label map"});
      continue;
    }
    const auto [other, added] = found.emplace(decomposed(case_name(file)), file);
    if (!added)
      throw InputError({.file = file.string(),
                        .what = "a case twice",
                        .found = other->second.filename().string() + " too",
                        .expected = "one file a case",
                        .fix = "move one of them away"});
  }
  tell_left_out(content.left_out, folder);
  if (found.empty())
    throw InputError({.file = folder.string(),
                      .what = "no label maps",
                      .found = "none",
                      .expected = "files such as case.nii.gz",
                      .fix = "name their folder"});
  return found;
}

bool is_folder(const fs::path& path, const char* what) {
  std::error_code error;
  const auto status = fs::status(path, error);
  if (!fs::exists(status))
    throw InputError({.file = path.string(),
                      .what = std::string("missing ") + what,
                      .found = "nothing",
                      .expected = "a folder of label maps or one file",
                      .fix = "check the path"});
  return fs::is_directory(status);
}

}  // namespace

std::vector<CasePair> pair_cases(const fs::path& prediction, const fs::path& reference) {
  const bool folders = is_folder(reference, "reference");
  if (is_folder(prediction, "prediction") != folders)
    throw UsageError(
        "evaluate: found a folder and a file, expected two folders or two files; "
        "name both alike with " +
        setting_name("prediction") + " and " + setting_name("reference"));
  if (!folders) return {{case_name(reference), prediction, reference}};
  auto predictions = label_maps(prediction, Role::kPrediction);
  std::vector<CasePair> pairs;
  for (const auto& [name, file] : label_maps(reference, Role::kReference)) {
    const auto found = predictions.extract(name);
    pairs.push_back({case_name(file), found ? found.mapped() : fs::path(), file});
  }
  for (const auto& [name, file] : predictions)
    log_warning("no reference for " + file.string() + ": left out");
  return pairs;
}

}  // namespace lamp
