// The parts that all three dialects share: labels, channels and names. The lists of entries that
// Decathlon and MONAI use are in datalist_parser.cpp, nnU-Net's way of finding cases by file name
// in nnunet_cases.cpp.
#include "lamp/dataset/datalist.h"

#include <algorithm>
#include <charconv>
#include <set>
#include <unordered_set>
#include <utility>

#include "lamp/base/json.h"
#include "lamp/base/log.h"
#include "lamp/base/mistaken_file.h"
#include "lamp/base/safe_path.h"
#include "lamp/base/text.h"
#include "lamp/dataset/datalist_parser.h"
#include "lamp/dataset/dataset_file.h"
#include "lamp/dataset/nnunet_cases.h"

namespace lamp {
namespace fs = std::filesystem;
namespace {

std::optional<int> whole_number(const std::string& text) {
  int value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

[[noreturn]] void refuse_id(const Dataset& dataset, const std::string& id) {
  refuse(dataset, "a label id out of range",
         {.found = id,
          .expected = "0 to " + std::to_string(kLargestLabel),
          .fix = "renumber the labels, also in the label maps"});
}

void check_label(const Dataset& dataset, int id, const std::string& name) {
  auto fault = fault_of_label(id, name);
  if (!fault) return;
  fault->found += " for " + std::to_string(id);
  refuse(dataset, "a label that no model can hold", *std::move(fault));
}

// One member of "labels": "1": "liver" (Decathlon) or "liver": 1 (nnU-Net).
std::pair<int, std::string> parse_label(const Dataset& dataset, const std::string& key,
                                        const Json& value) {
  if (value.is_array())
    refuse(dataset, "regions are not supported",
           {.found = "label " + in_quotes(key) + ": " + brief(value),
            .expected = "one id a label",
            .fix = "list the parts one by one"});
  if (value.is_number_integer()) {
    if (key == "ignore")
      refuse(dataset, "an ignore label is not supported",
             {.found = "\"ignore\": " + brief(value),
              .expected = "names of structures",
              .fix = "give such cases \"annotated\" lists instead"});
    if (value < Json(0) || value > Json(kLargestLabel)) refuse_id(dataset, brief(value));
    return {value.get<int>(), key};
  }
  const auto id = whole_number(key);
  if (id && value.is_string() && (*id < 0 || *id > kLargestLabel)) refuse_id(dataset, key);
  if (!id || !value.is_string())
    refuse(dataset, "a label that cannot be read",
           {.found = in_quotes(key) + ": " + brief(value),
            .expected = R"("1": "name" or "name": 1)",
            .fix = "correct it"});
  return {*id, value.get<std::string>()};
}

void check_consecutive(const Dataset& dataset) {
  constexpr std::size_t kShown = 20;
  std::vector<std::string> all;
  for (const auto& label : dataset.labels) all.push_back(std::to_string(label.first));
  const std::string ids = joined_first(all, kShown);
  if (!dataset.labels.contains(0))
    refuse(dataset, "no background",
           {.found = "label ids " + ids,
            .expected = "0 for the background as well",
            .fix = "add \"0\": \"background\""});
  if (dataset.labels.begin()->first != 0 ||
      dataset.labels.rbegin()->first + 1 != static_cast<int>(dataset.labels.size()))
    refuse(dataset, "label ids with gaps",
           {.found = "ids " + ids,
            .expected = "0 to " + std::to_string(dataset.labels.size() - 1),
            .fix = "renumber them, also in the label maps"});
  if (dataset.labels.size() < 2)
    refuse(dataset, "no labels",
           {.found = "only the background",
            .expected = "at least one more",
            .fix = "add the structures that the label maps show"});
}

void parse_labels(const Json& labels, Dataset& dataset) {
  if (!labels.is_object() || labels.empty())
    refuse(dataset, "no labels",
           {.found = "\"labels\": " + brief(labels),
            .expected = R"({"0": "background", "1": "name", ...})",
            .fix = "correct it"});
  std::set<std::string> names;
  for (const auto& [key, value] : labels.items()) {
    const auto [id, name] = parse_label(dataset, key, value);
    check_label(dataset, id, name);
    if (!dataset.labels.emplace(id, name).second)
      refuse(dataset, "a label id twice",
             {.found = std::to_string(id) + " for " + in_quotes(dataset.labels[id]) + " and " +
                       in_quotes(name),
              .expected = "one name an id",
              .fix = "renumber one of them"});
    if (!names.insert(name).second)
      refuse(dataset, "a label name twice",
             {.found = in_quotes(name) + " for two ids",
              .expected = "one id a name",
              .fix = "rename one of them"});
  }
  check_consecutive(dataset);
}

// MONAI datalists say nothing of labels: what the label maps hold decides.
void discover_labels(Dataset& dataset) {
  std::int64_t highest = 0;
  for (const Case& entry : dataset.training) {
    try {
      highest = std::max(highest, read_label(entry.label).voxels.max().item<std::int64_t>());
    } catch (const InputError& error) {  // check_dataset names it; training will refuse it
      log_debug(error.what());
    }
  }
  if (highest > kLargestLabel)
    refuse(dataset, "no labels",
           {.found = "no \"labels\" and label maps with values up to " + std::to_string(highest),
            .expected = "at most " + std::to_string(kLargestLabel),
            .fix = "check that these are label maps"});
  if (highest < 1)
    refuse(dataset, "no labels",
           {.found = R"(no "labels" and no label map that shows them)",
            .fix = R"(add "labels": {"0": "background", "1": "name"})"});
  log_info(dataset.file.string() + " names no labels: taking 1 to " + std::to_string(highest) +
           " from its label maps");
  dataset.labels[0] = "background";
  for (int id = 1; id <= highest; ++id) dataset.labels[id] = "label_" + std::to_string(id);
}

// In the order of their numbers, where they have some: {"1": "PET", "0": "CT"} begins with CT.
std::vector<std::string> parse_channels(const Json& root, const Dataset& dataset) {
  const char* key = root.contains("channel_names") ? "channel_names" : "modality";
  const Json channels = root.value(key, Json());
  if (channels.is_string()) return {channels.get<std::string>()};
  if (!channels.is_object() && !channels.is_array()) return {};
  std::vector<std::pair<int, std::string>> names;
  for (const auto& item : channels.items()) {
    if (!item.value().is_string())
      refuse(dataset, "channels that cannot be read",
             {.found = in_quotes(key) + ": " + brief(channels),
              .expected = R"({"0": "CT", ...})",
              .fix = "correct it"});
    names.emplace_back(whole_number(item.key()).value_or(kLargestLabel),
                       item.value().get<std::string>());
  }
  std::stable_sort(names.begin(), names.end(),
                   [](const auto& a, const auto& b) { return a.first < b.first; });
  std::vector<std::string> ordered;
  for (auto& name : names) ordered.push_back(std::move(name.second));
  return ordered;
}

// Files of many data sets are called image.nii.gz in a folder for each case: then the folder tells
// them apart.
void name_by_folder_if_needed(std::vector<Case*>& cases) {
  std::map<std::string, std::set<fs::path>> folders;
  for (const Case* entry : cases) folders[entry->name].insert(entry->images.front().parent_path());
  for (Case* entry : cases)
    if (folders[entry->name].size() > 1)
      entry->name = entry->images.front().parent_path().filename().string() + "_" + entry->name;
}

// Names become names of files, wherever something is written for a case.
bool has_sound_name(const Case& entry, const Dataset& dataset, const FaultSink& sink) {
  const std::string fault = fault_of_name(entry.name);
  if (fault.empty()) return true;
  sink.add({.file = dataset.file.string(),
            .what = "a case name that no file may have",
            .found = in_quotes(printable(entry.name.substr(0, 80))) + ": " + fault,
            .expected = "a plain name",
            .fix = "rename the case"});
  return false;
}

void drop_unusable(std::vector<std::vector<Case>*> lists, const Dataset& dataset,
                   const FaultSink& sink) {
  std::vector<Case*> all;
  for (auto* list : lists)
    for (Case& entry : *list) all.push_back(&entry);
  name_by_folder_if_needed(all);
  std::unordered_set<std::string> names;
  for (auto* list : lists) {
    std::erase_if(*list, [&](const Case& entry) {
      if (!has_sound_name(entry, dataset, sink)) return true;
      if (names.insert(entry.name).second) return false;
      sink.add({.file = dataset.file.string(),
                .what = "a case listed twice",
                .found = "another case " + in_quotes(entry.name) + " (" +
                         entry.images.front().string() + ")",
                .expected = "every case once",
                .fix = "remove or rename one of them"});
      return true;
    });
  }
}

void parse_cases(const ListReader& list) {
  const Json& root = list.root;
  Dataset& dataset = list.dataset;
  const bool lists = root.contains("training") || root.contains("validation");
  if (lists || root.contains("test") || root.contains("testing")) {
    dataset.training = parse_list(list, "training");
    dataset.validation = parse_list(list, "validation");
    dataset.test = parse_list(list, root.contains("test") ? "test" : "testing");
  } else {
    find_nnunet_cases(list);
  }
  drop_unusable({&dataset.training, &dataset.validation}, dataset, list.sink);
  drop_unusable({&dataset.test}, dataset, list.sink);
}

// "numTraining": 20, or the same as text; nothing if the key is not there.
std::optional<std::int64_t> declared_count(const ListReader& list, const char* key) {
  const Json count = list.root.value(key, Json());
  if (count.is_null()) return std::nullopt;
  if (count.is_number_integer()) return count.get<std::int64_t>();
  if (count.is_string())
    if (const auto number = whole_number(count.get<std::string>())) return number;
  list.sink.add({.file = list.dataset.file.string(),
                 .what = "a count of the wrong type",
                 .found = in_quotes(key) + ": " + brief(count),
                 .expected = "a number of cases",
                 .fix = "correct it or leave it out"});
  return std::nullopt;
}

bool has_labels(const Json& root, const Dataset& dataset) {
  if (root.contains("labels")) return true;
  const std::string other = known_other_json(root);
  if (!other.empty())
    refuse(
        dataset, "not a data set",
        {.found = other, .expected = "a list of cases such as dataset.json", .fix = "name that"});
  const std::string close = nearest("labels", keys_of(root));
  const bool typo = close.starts_with('l') && close.size() + 2 >= 6 && close.size() <= 8;
  if (!root.contains("training") || typo)
    refuse(dataset, "no labels",
           {.found = "the keys " + what_keys(root),
            .expected = "\"labels\"",
            .fix = typo ? "is " + in_quotes(close) + " meant?"
                        : R"(add them, such as {"0": "background", "1": "liver"})"});
  return false;
}

}  // namespace

Dataset read_dataset(const fs::path& folder_or_json, std::vector<Fault>* faults) {
  Dataset dataset;
  dataset.file = find_dataset_json(folder_or_json);
  dataset.root = dataset.file.parent_path();
  if (const std::string other = mistaken_kind_of(dataset.file); !other.empty())
    refuse(dataset, "not a data set",
           {.found = other,
            .expected = "a folder with dataset.json or that file",
            .fix = "name that; lamp check takes images, too"});
  const Json root = read_json(dataset.file);
  if (!root.is_object()) {
    const std::string other = known_other_json(root);
    refuse(dataset, "not a data set",
           {.found = (other.empty() ? brief(root) : other),
            .expected = "a JSON object",
            .fix = "name the dataset.json of a data set"});
  }
  const Json name = root.value("name", Json());
  dataset.name = name.is_string() ? name.get<std::string>()
                                  : fs::absolute(dataset.file).parent_path().filename().string();
  const FaultSink sink{faults};
  const std::size_t faults_before = faults ? faults->size() : 0;
  const bool labelled = has_labels(root, dataset);
  if (labelled) parse_labels(root["labels"], dataset);
  dataset.channels = parse_channels(root, dataset);
  DatasetPaths paths(dataset.file);
  const ListReader list{.root = root, .dataset = dataset, .sink = sink, .paths = paths};
  dataset.training_count.declared = declared_count(list, "numTraining");
  dataset.test_count.declared = declared_count(list, "numTest");
  parse_cases(list);
  for (std::string& note : paths.notes()) dataset.notes.push_back(std::move(note));
  const bool empty = dataset.training.empty() && dataset.validation.empty() && dataset.test.empty();
  if (empty && (!faults || faults->size() == faults_before))
    refuse(dataset, "a data set without cases",
           {.found = "the keys " + what_keys(root) + " and no case in them",
            .expected = "\"training\": [{\"image\": ..., \"label\": ...}]",
            .fix = "add the cases"});
  if (!labelled) discover_labels(dataset);
  if (!faults)
    for (const std::string& note : dataset.notes) log_info(dataset.file.string() + ": " + note);
  return dataset;
}

void require_training_cases(const Dataset& dataset) {
  if (dataset.training.empty())
    throw InputError({.file = dataset.root.string(),
                      .what = "no training cases",
                      .found = "its \"training\" list is empty",
                      .fix = "add cases with labels"});
}

std::vector<int> annotated_ids(const Case& entry, const Dataset& dataset) {
  if (entry.annotated) return *entry.annotated;
  std::vector<int> ids;
  for (const auto& label : dataset.labels)
    if (label.first > 0) ids.push_back(label.first);
  return ids;
}

}  // namespace lamp
