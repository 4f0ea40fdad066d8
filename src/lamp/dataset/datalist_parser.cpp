// One entry of a case list, as Decathlon and MONAI write it: {"image": path or paths, "label":
// path} or a bare path.
#include "lamp/dataset/datalist_parser.h"

#include <map>
#include <set>
#include <utility>

#include "lamp/base/errors.h"
#include "lamp/base/text.h"
#include "lamp/dataset/nnunet_cases.h"

namespace lamp {
namespace fs = std::filesystem;

std::vector<std::string> keys_of(const Json& object) {
  std::vector<std::string> keys;
  for (const auto& item : object.items()) keys.push_back(item.key());
  return keys;
}

std::string in_quotes(const std::string& text) { return "\"" + shortened(text, 200) + "\""; }

std::string brief(const Json& value) {
  std::string text = printable(value.dump(-1, ' ', false, Json::error_handler_t::replace));
  if (text.size() > 60) text = text.substr(0, 57) + "...";
  return text;
}

void refuse(const Dataset& dataset, const std::string& what, Fault rest) {
  rest.file = dataset.file.string();
  rest.what = what;
  throw InputError(std::move(rest));
}

std::string what_keys(const Json& object) {
  constexpr std::size_t kShown = 12;
  std::vector<std::string> keys;
  for (const std::string& key : keys_of(object))
    keys.push_back(in_quotes(printable(key.substr(0, 40))));
  return keys.empty() ? "(none)" : joined_first(keys, kShown);
}

bool is_hidden(const fs::path& path) { return path.filename().string().starts_with('.'); }

void FaultSink::add(Fault fault) const {
  if (!faults) throw InputError(std::move(fault));
  faults->push_back(std::move(fault));
}

std::optional<fs::path> EntryParser::resolve(const std::string& text) const {
  Fault why;
  auto file = list.paths.resolve(base, text, why);
  if (file) return file;
  why.file = list.dataset.file.string();
  why.found += " in " + where;
  list.sink.add(std::move(why));
  return std::nullopt;
}

std::optional<fs::path> EntryParser::file(const Json& entry, const std::string& key) const {
  const auto found = entry.find(key);
  if (found == entry.end()) {
    wrong_key(entry, key);
    return std::nullopt;
  }
  if (found->is_string()) return resolve(found->get<std::string>());
  fault("an entry of the wrong type", in_quotes(key) + ": " + brief(*found), "the path of a file");
  return std::nullopt;
}

void EntryParser::wrong_key(const Json& entry, const std::string& key) const {
  const std::string close = close_match(key, keys_of(entry));
  fault("an entry without " + in_quotes(key),
        brief(entry) + (close.empty() ? "" : " (the nearest key is " + in_quotes(close) + ")"),
        "the key " + in_quotes(key));
}

void EntryParser::fault(const std::string& what, const std::string& found,
                        const std::string& expected) const {
  list.sink.add({.file = list.dataset.file.string(),
                 .what = what,
                 .found = found + " in " + where,
                 .expected = expected,
                 .fix = "correct this entry"});
}

std::optional<std::vector<fs::path>> EntryParser::images(const Json& value) const {
  std::vector<fs::path> paths;
  const Json items = value.is_array() ? value : Json::array({value});
  for (const Json& item : items) {
    if (!item.is_string() || item.get<std::string>().empty()) {
      fault("an entry of the wrong type", brief(value), "the path of an image or a list of paths");
      return std::nullopt;
    }
    auto file = resolve(item.get<std::string>());
    if (!file) return std::nullopt;
    paths.push_back(*std::move(file));
  }
  if (!paths.empty()) return paths;
  fault("an entry without images", brief(value), "at least one path");
  return std::nullopt;
}

std::optional<int> EntryParser::label_id(const Json& value) const {
  const std::map<int, std::string>& labels = list.dataset.labels;
  if (value.is_number_integer()) {
    const auto id = value.get<std::int64_t>();
    const bool declared = id > 0 && id <= kLargestLabel && labels.contains(static_cast<int>(id));
    return declared ? std::optional(static_cast<int>(id)) : std::nullopt;
  }
  if (!value.is_string()) return std::nullopt;
  for (const auto& [id, name] : labels)
    if (id > 0 && value.get_ref<const std::string&>() == name) return id;
  return std::nullopt;
}

// False if the entry has to be left out.
bool EntryParser::details(const Json& entry, Case& result) const {
  if (const auto fold = entry.find("fold"); fold != entry.end()) {
    if (!fold->is_number_integer() || *fold < Json(0) || *fold > Json(kLargestLabel)) {
      fault("an entry of the wrong type", "\"fold\": " + brief(*fold),
            "a whole number from 0 to " + std::to_string(kLargestLabel));
      return false;
    }
    result.fold = fold->get<int>();
  }
  const auto found = entry.find("annotated");
  if (found == entry.end()) return true;
  const Json& listed = *found;
  std::set<int> ids;
  for (const Json& item : listed.is_array() ? listed : Json::array({Json()})) {
    const auto id = label_id(item);
    if (id) ids.insert(*id);
    if (id || item == Json(0)) continue;
    const auto& labels = list.dataset.labels;
    fault("annotated labels that are not declared", "\"annotated\": " + brief(listed),
          "a list of ids from 1 to " + std::to_string(labels.empty() ? 0 : labels.rbegin()->first));
    break;  // the case itself can still be checked
  }
  if (ids.empty() && listed.is_array() && where.starts_with("training"))
    fault("a training case of which nothing was annotated", "\"annotated\": " + brief(listed),
          "the labels that were drawn in this case, or no such key where all were");
  result.annotated.emplace(ids.begin(), ids.end());
  return true;
}

namespace {

// Test cases come without a label; many data sets keep one all the same, in a folder beside.
fs::path label_beside(const fs::path& image, DatasetPaths& paths) {
  if (image.parent_path().filename() != "imagesTs") return {};
  const fs::path label =
      paths.on_disk(image.parent_path().parent_path() / "labelsTs" / image.filename());
  std::error_code error;
  return fs::exists(label, error) ? label : fs::path();
}

// Puts the files of nnU-Net's first version in place of the one that is listed. False, and a fault,
// if their number is not the one that "modality" declares.
bool expand_channels(const EntryParser& parser, Case& entry) {
  std::vector<fs::path> channels = version_1_channels(entry.images.front());
  if (channels.empty()) return true;
  const std::size_t declared = parser.list.dataset.channels.size();
  if (declared != 0 && declared != channels.size()) {
    parser.fault("channels missing or unknown",
                 counted(channels.size(), "file") + " such as " +
                     channels.front().filename().string() + " for " +
                     entry.images.front().filename().string() + " (the layout of nnU-Net v1)",
                 counted(declared, "channel") + " as \"modality\" says");
    return false;
  }
  entry.images = std::move(channels);
  return true;
}

std::optional<Case> parse_entry(const EntryParser& parser, const Json& entry, bool needs_label) {
  Case result;
  if (entry.is_object() && !entry.contains("image")) {
    parser.wrong_key(entry, "image");
    return std::nullopt;
  }
  if (!entry.is_object() && (needs_label || !entry.is_string())) {
    parser.fault("an entry of the wrong type", brief(entry),
                 R"({"image": "path", "label": "path"})");
    return std::nullopt;
  }
  const auto images = parser.images(entry.is_object() ? entry["image"] : entry);
  if (!images) return std::nullopt;
  result.images = *images;
  result.name = case_name(result.images.front());
  if (entry.is_object() && (needs_label || entry.contains("label"))) {
    const auto label = parser.file(entry, "label");
    if (!label) return std::nullopt;
    result.label = *label;
  } else {
    result.label = label_beside(result.images.front(), parser.list.paths);
  }
  if (entry.is_object() && !parser.details(entry, result)) return std::nullopt;
  if (result.images.size() == 1 && !expand_channels(parser, result)) return std::nullopt;
  return result;
}

fs::path base_of(const ListReader& list) {
  const auto base = list.root.find("base_dir");
  if (base == list.root.end() || !base->is_string()) return list.dataset.root;
  Fault why;
  const auto folder = list.paths.resolve(list.dataset.root, base->get<std::string>(), why);
  if (folder) return *folder;
  why.file = list.dataset.file.string();
  why.found += " as \"base_dir\"";
  throw InputError(std::move(why));
}

// The Mac's companion of a file, which archives bring along.
bool is_companion(const Case& entry) {
  return entry.images.front().filename().string().starts_with("._");
}

}  // namespace

std::vector<Case> parse_list(const ListReader& list, const std::string& key) {
  std::vector<Case> cases;
  const auto entries = list.root.find(key);
  if (entries == list.root.end()) return cases;
  if (!entries->is_array())
    refuse(list.dataset, "a list of the wrong type",
           {.found = in_quotes(key) + ": " + brief(*entries),
            .expected = "a list of entries",
            .fix = "correct it"});
  const fs::path base = base_of(list);
  const bool training = key == "training";
  std::int64_t listed = 0, expanded = 0;
  for (std::size_t i = 0; i < entries->size(); ++i) {
    const EntryParser parser{list, base, key + "[" + std::to_string(i) + "]"};
    auto entry = parse_entry(parser, (*entries)[i], training);
    const bool companion = entry && is_companion(*entry);
    listed += !companion;
    if (!entry || companion) continue;
    expanded += case_name(entry->images.front()) != entry->name;
    cases.push_back(*std::move(entry));
  }
  if (key.starts_with("test")) list.dataset.test_count.listed = listed;
  if (training) list.dataset.training_count.listed = listed;
  if (expanded > 0)
    list.dataset.notes.push_back("the layout of nnU-Net v1: " + counted(expanded, "path") +
                                 " under " + in_quotes(key) +
                                 " as x where x_0000 lies, read there");
  return cases;
}

}  // namespace lamp
