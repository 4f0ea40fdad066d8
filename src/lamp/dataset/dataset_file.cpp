// Which JSON is the list of a data set, and what another one is that was given in its place: a
// folder of nnU-Net's or of a run holds several.
#include "lamp/dataset/dataset_file.h"

#include <algorithm>
#include <array>
#include <iterator>
#include <optional>
#include <string_view>
#include <vector>

#include "lamp/base/errors.h"
#include "lamp/base/setting_name.h"
#include "lamp/base/text.h"
#include "lamp/dataset/datalist_parser.h"

namespace lamp {
namespace fs = std::filesystem;
namespace {

struct KnownJson {
  std::string_view key;  // tells it from every data set
  const char* what;
  const char* setting = nullptr;  // that takes it
};

constexpr std::array<KnownJson, 9> kKnownJson = {
    {{"curriculum", "a training configuration, for lamp train", "config"},
     {"metric_per_case", "the scores of lamp evaluate or nnU-Net"},
     {"configurations", "nnU-Net's plans"},
     {"plans_name", "nnU-Net's plans"},
     {"shapes_after_crop", "nnU-Net's fingerprint of a data set"},
     {"intensityproperties", "nnU-Net's plans of version 1"},
     {"conditions", "an experiment, for lamp experiment", "preset"},
     {"microbatches", "a plan of lamp plan"},
     {"patches_per_second", "a measurement of lamp bench"}}};

// Lie beside dataset.json and never are one.
constexpr std::array<std::string_view, 5> kOtherNames = {
    "splits_final.json", "dataset_fingerprint.json", "nnUNetPlans.json", "plans.json",
    "segment.json"};

// Lists of cases hold one of them, in all dialects.
constexpr std::array<const char*, 5> kListKeys = {"training", "validation", "test", "testing",
                                                  "numTraining"};

std::string what_is_in(const fs::path& folder) {
  std::vector<std::string> names;
  std::error_code error;
  for (fs::directory_iterator at(folder, error), end; !error && at != end; at.increment(error)) {
    std::error_code unknown;
    names.push_back(printable(at->path().filename().string()) +
                    (at->is_directory(unknown) ? "/" : ""));
  }
  if (error) return error.message() + " when looking into it";
  if (names.empty()) return "an empty folder";
  std::sort(names.begin(), names.end());
  return joined_first(names, 6);
}

std::vector<fs::path> lists_in(const fs::path& folder) {
  std::vector<fs::path> lists;
  std::error_code error;
  for (fs::directory_iterator at(folder, error), end; !error && at != end; at.increment(error))
    if (is_dataset_name(at->path())) lists.push_back(at->path());
  return lists;
}

bool is_named_dataset(const fs::path& file) {
  return lower(file.filename().string()) == "dataset.json";
}

// The one that is meant, if that is clear.
std::optional<fs::path> list_in(const fs::path& folder) {
  std::error_code error;
  if (fs::is_regular_file(folder / "dataset.json", error)) return folder / "dataset.json";
  std::vector<fs::path> lists = lists_in(folder), named;
  std::copy_if(lists.begin(), lists.end(), std::back_inserter(named), is_named_dataset);
  if (!named.empty()) lists = named;
  if (lists.size() != 1) return std::nullopt;
  return lists.front();
}

}  // namespace

bool is_dataset_name(const fs::path& file) {
  return file.extension() == ".json" && !is_hidden(file) &&
         std::find(kOtherNames.begin(), kOtherNames.end(), file.filename().string()) ==
             kOtherNames.end();
}

fs::path find_dataset_json(const fs::path& given) {
  std::error_code error;
  const fs::file_status status = fs::status(given, error);
  if (status.type() == fs::file_type::none)
    throw InputError({.file = given.string(),
                      .what = "no data set",
                      .found = error.message(),
                      .expected = "a folder with dataset.json or that file",
                      .fix = "check the path"});
  if (status.type() == fs::file_type::not_found)
    throw InputError({.file = given.string(),
                      .what = "no data set",
                      .found = "nothing",
                      .expected = "a folder with dataset.json or that file",
                      .fix = "check the path"});
  if (!fs::is_directory(status)) return given;
  const auto list = list_in(given);
  if (list && list->filename() == "dataset.json") return *list;
  if (fs::exists(given / "config.json", error) && fs::exists(given / "train.log", error))
    throw InputError({.file = given.string(),
                      .what = "no data set",
                      .found = "the folder of a training run",
                      .expected = "that of a data set",
                      .fix = "lamp info tells of a run"});
  if (list) return *list;
  throw InputError(
      {.file = given.string(),
       .what = "no data set",
       .found = what_is_in(given),
       .expected = "dataset.json",
       .fix = lists_in(given).empty() ? "check the path" : "give one of the JSON files by name"});
}

bool has_case_list(const fs::path& folder) {
  const auto list = list_in(folder);
  if (!list || is_named_dataset(*list)) return list.has_value();
  try {
    const Json root = read_json(*list);
    return root.is_object() && known_other_json(root).empty() &&
           std::any_of(kListKeys.begin(), kListKeys.end(),
                       [&](const char* key) { return root.contains(key); });
  } catch (const Error&) {
    return false;
  }
}

std::string known_other_json(const Json& json) {
  if (json.is_array() && !json.empty() && json[0].is_object() && json[0].contains("train") &&
      json[0].contains("val"))
    return "nnU-Net's folds (splits_final.json), which lie beside a data set's dataset.json";
  if (!json.is_object()) return "";
  for (const KnownJson& known : kKnownJson)
    if (json.contains(known.key))
      return std::string(known.what) +
             (known.setting != nullptr ? " " + setting_name(known.setting) : "");
  return "";
}

}  // namespace lamp
