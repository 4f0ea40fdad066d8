// The parts that all three dialects share: finding the JSON, labels, channels, names, and the lists
// of entries that Decathlon and MONAI use. nnU-Net's way of finding cases by file name is in
// nnunet_cases.cpp.
#include "lamp/data/datalist.h"

#include <algorithm>
#include <charconv>
#include <set>

#include "lamp/base/json.h"
#include "lamp/base/log.h"
#include "lamp/data/datalist_parser.h"

namespace lamp {
namespace fs = std::filesystem;
namespace {

std::string what_is_in(const fs::path& folder) {
  std::vector<std::string> names;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(folder, error))
    names.push_back(entry.path().filename().string() + (entry.is_directory(error) ? "/" : ""));
  if (names.empty()) return "an empty folder";
  std::sort(names.begin(), names.end());
  std::string text;
  for (std::size_t i = 0; i < names.size() && i < 6; ++i) text += (i ? ", " : "") + names[i];
  if (names.size() > 6) text += " and " + std::to_string(names.size() - 6) + " more";
  return text;
}

fs::path find_json(const fs::path& given) {
  std::error_code error;
  if (!fs::exists(given, error))
    throw InputError("no data set", given.string(),
                     "found nothing, expected a folder with dataset.json or that file");
  if (!fs::is_directory(given, error)) return given;
  if (fs::is_regular_file(given / "dataset.json", error)) return given / "dataset.json";
  std::vector<fs::path> candidates;
  for (const auto& entry : fs::directory_iterator(given, error))
    if (entry.path().extension() == ".json" && !is_hidden(entry.path()))
      candidates.push_back(entry.path());
  if (candidates.size() == 1) return candidates.front();
  throw InputError("no data set", given.string(),
                   "found " + what_is_in(given) + ", expected dataset.json" +
                       (candidates.empty() ? "" : "; give one of the JSON files by name"));
}

std::optional<int> whole_number(const std::string& text) {
  int value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

// One member of "labels": "1": "liver" (Decathlon) or "liver": 1 (nnU-Net).
std::pair<int, std::string> parse_label(const Dataset& dataset, const std::string& key,
                                        const Json& value) {
  if (value.is_array())
    refuse(dataset, "regions are not supported",
           "found label " + in_quotes(key) + ": " + brief(value) +
               ", expected one id a label; list the parts one by one");
  if (value.is_number_integer()) {
    if (key == "ignore")
      refuse(dataset, "an ignore label is not supported",
             "found \"ignore\": " + brief(value) + "; give such cases \"annotated\" lists instead");
    const auto id = value.get<std::int64_t>();
    return {id < 0 || id > 32767 ? -1 : static_cast<int>(id), key};
  }
  const auto id = whole_number(key);
  if (!id || !value.is_string())
    refuse(
        dataset, "a label that cannot be read",
        "found " + in_quotes(key) + ": " + brief(value) + R"(, expected "1": "name" or "name": 1)");
  return {*id, value.get<std::string>()};
}

void check_consecutive(const Dataset& dataset) {
  std::string ids;
  for (const auto& label : dataset.labels)
    ids += (ids.empty() ? "" : ", ") + std::to_string(label.first);
  if (!dataset.labels.contains(0))
    refuse(dataset, "no background",
           "found label ids " + ids + ", expected 0 for the background as well");
  if (dataset.labels.begin()->first != 0 ||
      dataset.labels.rbegin()->first + 1 != static_cast<int>(dataset.labels.size()))
    refuse(dataset, "label ids with gaps",
           "found ids " + ids + ", expected 0 to " + std::to_string(dataset.labels.size() - 1) +
               "; renumber them, also in the label maps");
  if (dataset.labels.size() < 2)
    refuse(dataset, "no labels", "found only the background, expected at least one more");
}

void parse_labels(const Json& labels, Dataset& dataset) {
  if (!labels.is_object() || labels.empty())
    refuse(dataset, "no labels",
           "found \"labels\": " + brief(labels) +
               R"(, expected {"0": "background", "1": "name", ...})");
  std::set<std::string> names;
  for (const auto& [key, value] : labels.items()) {
    const auto [id, name] = parse_label(dataset, key, value);
    if (!dataset.labels.emplace(id, name).second)
      refuse(dataset, "a label id twice",
             "found " + std::to_string(id) + " for " + in_quotes(dataset.labels[id]) + " and " +
                 in_quotes(name) + ", expected one name an id");
    if (!names.insert(name).second)
      refuse(dataset, "a label name twice",
             "found " + in_quotes(name) + " for two ids, expected one id a name");
  }
  check_consecutive(dataset);
}

// MONAI datalists say nothing of labels: what the label maps hold decides.
void discover_labels(Dataset& dataset) {
  std::int64_t highest = 0;
  for (const Case& entry : dataset.training) {
    try {
      highest = std::max(highest, count_values(read_label(entry.label).voxels).rbegin()->first);
    } catch (const InputError& error) {  // check_dataset names it; training will refuse it
      log_debug(error.what());
    }
  }
  if (highest < 1 || highest > 32767)
    refuse(
        dataset, "no labels",
        R"(found no "labels" and no label map that shows them; add "labels": {"0": "background", "1": "name"})");
  log_info(dataset.file.string() + " names no labels: taking 1 to " + std::to_string(highest) +
           " from its label maps");
  dataset.labels[0] = "background";
  for (int id = 1; id <= highest; ++id) dataset.labels[id] = "label_" + std::to_string(id);
}

std::vector<std::string> parse_channels(const Json& root, const Dataset& dataset) {
  const char* key = root.contains("channel_names") ? "channel_names" : "modality";
  const Json channels = root.value(key, Json());
  std::vector<std::string> names;
  if (channels.is_string()) names.push_back(channels.get<std::string>());
  if (channels.is_object() || channels.is_array()) {
    for (const auto& item : channels.items()) {
      if (!item.value().is_string())
        refuse(
            dataset, "channels that cannot be read",
            "found " + in_quotes(key) + ": " + brief(channels) + R"(, expected {"0": "CT", ...})");
      names.push_back(item.value().get<std::string>());
    }
  }
  return names;
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

void drop_duplicates(std::vector<std::vector<Case>*> lists, const Dataset& dataset,
                     const FaultSink& sink) {
  std::vector<Case*> all;
  for (auto* list : lists)
    for (Case& entry : *list) all.push_back(&entry);
  name_by_folder_if_needed(all);
  std::set<std::string> names;
  for (auto* list : lists) {
    std::erase_if(*list, [&](const Case& entry) {
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

void parse_cases(const Json& root, Dataset& dataset, const FaultSink& sink) {
  const bool lists = root.contains("training") || root.contains("validation");
  if (lists || root.contains("test") || root.contains("testing")) {
    dataset.training = parse_list(root, "training", dataset, sink);
    dataset.validation = parse_list(root, "validation", dataset, sink);
    dataset.test = parse_list(root, root.contains("test") ? "test" : "testing", dataset, sink);
  } else {
    find_nnunet_cases(root, dataset, sink);
  }
  drop_duplicates({&dataset.training, &dataset.validation}, dataset, sink);
  drop_duplicates({&dataset.test}, dataset, sink);
}

bool has_labels(const Json& root, const Dataset& dataset) {
  if (root.contains("labels")) return true;
  const std::string close = nearest("labels", keys_of(root));
  const bool typo = close.starts_with('l') && close.size() + 2 >= 6 && close.size() <= 8;
  if (!root.contains("training") || typo)
    refuse(dataset, "no labels",
           "found the keys " + what_keys(root) + ", expected \"labels\"" +
               (typo ? "; is " + in_quotes(close) + " meant?"
                     : R"( such as {"0": "background", "1": "liver"})"));
  return false;
}

}  // namespace

Dataset read_dataset(const fs::path& folder_or_json, std::vector<DatasetFault>* faults) {
  Dataset dataset;
  dataset.file = find_json(folder_or_json);
  dataset.root = dataset.file.parent_path();
  const Json root = read_json(dataset.file);
  if (!root.is_object())
    refuse(dataset, "not a data set", "found " + brief(root) + ", expected a JSON object");
  dataset.name = root.contains("name") && root["name"].is_string()
                     ? root["name"].get<std::string>()
                     : fs::absolute(dataset.file).parent_path().filename().string();
  if (root.contains("numTraining") && root["numTraining"].is_number_integer())
    dataset.declared_training = root["numTraining"].get<std::int64_t>();
  const bool labelled = has_labels(root, dataset);
  if (labelled) parse_labels(root["labels"], dataset);
  dataset.channels = parse_channels(root, dataset);
  const std::size_t faults_before = faults ? faults->size() : 0;
  parse_cases(root, dataset, FaultSink{faults});
  const bool empty = dataset.training.empty() && dataset.validation.empty() && dataset.test.empty();
  if (empty && (!faults || faults->size() == faults_before))
    refuse(dataset, "a data set without cases",
           "found the keys " + what_keys(root) +
               " and no case in them, expected "
               "\"training\": [{\"image\": ..., \"label\": ...}]");
  if (!labelled) discover_labels(dataset);
  return dataset;
}

}  // namespace lamp
