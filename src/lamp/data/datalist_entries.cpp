// One entry of a case list, as Decathlon and MONAI write it: {"image": path or paths, "label":
// path} or a bare path.
#include <set>

#include "lamp/data/datalist_parser.h"

namespace lamp {
namespace fs = std::filesystem;

InputError to_error(const DatasetFault& fault) {
  return InputError(fault.what, fault.file,
                    "found " + fault.found + ", expected " + fault.expected + "; " + fault.fix);
}

DatasetFault to_fault(const InputError& error) {
  const std::string text = error.what();
  const std::string file = ": " + error.file() + ": ";
  const auto at = text.find(file);
  if (at == std::string::npos)
    return {error.file(), "unreadable", text, "a sound file", "replace the file"};
  DatasetFault fault{error.file(), text.substr(0, at), text.substr(at + file.size()),
                     "a sound file", "replace or repair the file"};
  if (const auto fix = fault.found.find("; "); fix != std::string::npos) {
    fault.fix = fault.found.substr(fix + 2);
    fault.found.resize(fix);
  }
  if (const auto expected = fault.found.find(", expected "); expected != std::string::npos) {
    fault.expected = fault.found.substr(expected + 11);
    fault.found.resize(expected);
  }
  if (fault.found.starts_with("found ")) fault.found.erase(0, 6);
  return fault;
}

std::vector<std::string> keys_of(const Json& object) {
  std::vector<std::string> keys;
  for (const auto& item : object.items()) keys.push_back(item.key());
  return keys;
}

std::string in_quotes(const std::string& text) { return "\"" + text + "\""; }

std::string brief(const Json& value) {
  std::string text = value.dump(-1, ' ', false, Json::error_handler_t::replace);
  if (text.size() > 60) text = text.substr(0, 57) + "...";
  return text;
}

void refuse(const Dataset& dataset, const std::string& what, const std::string& detail) {
  throw InputError(what, dataset.file.string(), detail);
}

std::string what_keys(const Json& object) {
  std::string text;
  for (const std::string& key : keys_of(object))
    text += (text.empty() ? "" : ", ") + in_quotes(key);
  return text.empty() ? "(none)" : text;
}

bool is_hidden(const fs::path& path) { return path.filename().string().starts_with('.'); }

void FaultSink::add(DatasetFault fault) const {
  if (!faults) throw to_error(fault);
  faults->push_back(std::move(fault));
}

std::optional<std::string> EntryParser::text(const Json& entry, const std::string& key,
                                             bool required) const {
  if (!entry.contains(key)) {
    if (required) wrong_key(entry, key);
    return std::nullopt;
  }
  if (entry[key].is_string()) return entry[key].get<std::string>();
  fault("an entry of the wrong type", in_quotes(key) + ": " + brief(entry[key]),
        "the path of a file");
  return std::nullopt;
}

void EntryParser::wrong_key(const Json& entry, const std::string& key) const {
  const std::string close = nearest(key, keys_of(entry));
  fault("an entry without " + in_quotes(key),
        brief(entry) + (close.empty() ? "" : " (the nearest key is " + in_quotes(close) + ")"),
        "the key " + in_quotes(key));
}

void EntryParser::fault(const std::string& what, const std::string& found,
                        const std::string& expected) const {
  sink.add({.file = dataset.file.string(),
            .what = what,
            .found = found + " in " + where,
            .expected = expected,
            .fix = "correct this entry"});
}

std::optional<std::vector<fs::path>> EntryParser::images(const Json& value) const {
  std::vector<fs::path> paths;
  const Json list = value.is_array() ? value : Json::array({value});
  for (const Json& item : list) {
    if (!item.is_string() || item.get<std::string>().empty()) {
      fault("an entry of the wrong type", brief(value), "the path of an image or a list of paths");
      return std::nullopt;
    }
    paths.push_back((base / item.get<std::string>()).lexically_normal());
  }
  if (!paths.empty()) return paths;
  fault("an entry without images", brief(value), "at least one path");
  return std::nullopt;
}

std::optional<int> EntryParser::label_id(const Json& value) const {
  for (const auto& [id, name] : dataset.labels)
    if (id > 0 && (value == Json(id) || value == Json(name))) return id;
  return std::nullopt;
}

// False if the entry has to be left out.
bool EntryParser::details(const Json& entry, Case& result) const {
  if (entry.contains("fold")) {
    if (!entry["fold"].is_number_integer()) {
      fault("an entry of the wrong type", "\"fold\": " + brief(entry["fold"]), "a whole number");
      return false;
    }
    result.fold = entry["fold"].get<int>();
  }
  if (!entry.contains("annotated")) return true;
  const Json& listed = entry["annotated"];
  std::set<int> ids;
  for (const Json& item : listed.is_array() ? listed : Json::array({Json()})) {
    const auto id = label_id(item);
    if (id) ids.insert(*id);
    if (id || item == Json(0)) continue;
    fault("annotated labels that are not declared", "\"annotated\": " + brief(listed),
          "a list of ids from 1 to " +
              std::to_string(dataset.labels.empty() ? 0 : dataset.labels.rbegin()->first));
    break;  // the case itself can still be checked
  }
  result.annotated.emplace(ids.begin(), ids.end());
  return true;
}

namespace {

// Test cases come without a label; many data sets keep one all the same, in a folder beside.
fs::path label_beside(const fs::path& image) {
  if (image.parent_path().filename() != "imagesTs") return {};
  const fs::path label = image.parent_path().parent_path() / "labelsTs" / image.filename();
  std::error_code error;
  return fs::exists(label, error) ? label : fs::path();
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
  if (entry.is_object() && (needs_label || entry.contains("label"))) {
    const auto label = parser.text(entry, "label", true);
    if (!label) return std::nullopt;
    result.label = (parser.base / *label).lexically_normal();
  } else {
    result.label = label_beside(result.images.front());
  }
  if (entry.is_object() && !parser.details(entry, result)) return std::nullopt;
  result.name = case_name(result.images.front());
  return result;
}

}  // namespace

std::vector<Case> parse_list(const Json& root, const std::string& key, const Dataset& dataset,
                             const FaultSink& sink) {
  std::vector<Case> cases;
  if (!root.contains(key)) return cases;
  if (!root[key].is_array())
    refuse(dataset, "a list of the wrong type",
           "found " + in_quotes(key) + ": " + brief(root[key]) + ", expected a list of entries");
  fs::path base = dataset.root;
  if (root.contains("base_dir") && root["base_dir"].is_string())
    base /= root["base_dir"].get<std::string>();
  for (std::size_t i = 0; i < root[key].size(); ++i) {
    const EntryParser parser{dataset, sink, base, key + "[" + std::to_string(i) + "]"};
    auto entry = parse_entry(parser, root[key][i], key == "training");
    if (entry && !entry->images.front().filename().string().starts_with("._"))
      cases.push_back(std::move(*entry));
  }
  return cases;
}

}  // namespace lamp
