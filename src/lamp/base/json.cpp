// Parsing, printing and checking of JSON over nlohmann's library.
#include "lamp/base/json.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <utility>

#include "lamp/base/errors.h"
#include "lamp/base/files.h"

namespace lamp {
namespace {

constexpr std::size_t kLargestJsonBytes = std::size_t{256} << 20;

// nlohmann cannot print NaN as Python does, so numbers that are not finite are printed here and all
// else there.
void dump_into(std::string& out, const Json& value, int indent, int depth) {
  const auto newline = [&](int levels) {
    if (indent < 0) return;
    out += '\n';
    out.append(static_cast<std::size_t>(indent) * levels, ' ');
  };
  if (value.is_number_float() && !std::isfinite(value.get<double>())) {
    const double number = value.get<double>();
    out += std::isnan(number) ? "NaN" : number > 0 ? "Infinity" : "-Infinity";
  } else if (value.is_structured() && !value.empty()) {
    out += value.is_object() ? '{' : '[';
    bool first = true;
    for (const auto& [key, member] : value.items()) {
      if (!first) out += indent < 0 ? ", " : ",";
      first = false;
      newline(depth + 1);
      if (value.is_object())
        out += Json(key).dump(-1, ' ', false, Json::error_handler_t::replace) + ": ";
      dump_into(out, member, indent, depth + 1);
    }
    newline(depth);
    out += value.is_object() ? '}' : ']';
  } else {
    out += value.dump(-1, ' ', false, Json::error_handler_t::replace);
  }
}

std::size_t edit_distance(const std::string& a, const std::string& b) {
  std::vector<std::size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), std::size_t{0});
  for (std::size_t i = 0; i < a.size(); ++i) {
    std::size_t diagonal = std::exchange(row[0], i + 1);
    for (std::size_t j = 0; j < b.size(); ++j) {
      const std::size_t substitute = diagonal + (a[i] == b[j] ? 0 : 1);
      diagonal = row[j + 1];
      row[j + 1] = std::min({substitute, row[j] + 1, diagonal + 1});
    }
  }
  return row.back();
}

}  // namespace

Json parse_json(std::string_view text, const std::string& file) {
  try {
    return Json::parse(text.begin(), text.end(), nullptr, true, /*ignore_comments=*/true);
  } catch (const nlohmann::json::exception& error) {
    std::string detail = error.what();
    if (const auto end = detail.find("] "); end != std::string::npos)
      detail = detail.substr(end + 2);
    std::replace(detail.begin(), detail.end(), '\n', ' ');
    throw InputError("not valid JSON", file, detail);
  }
}

Json read_json(const std::filesystem::path& file) {
  return parse_json(read_file(file, kLargestJsonBytes), file.string());
}

std::string dump_json(const Json& value, int indent) {
  std::string out;
  dump_into(out, value, indent, 0);
  return out;
}

ObjectReader::ObjectReader(const Json& object, std::string where)
    : object_(object), where_(std::move(where)) {
  if (!object.is_object() && !object.is_null())
    throw_wrong_type(where_.empty() ? "the file" : where_, object, "an object {...}");
}

bool ObjectReader::has(const std::string& key) { return !at(key).is_null(); }

const Json& ObjectReader::at(const std::string& key) {
  static const Json absent;
  known_.push_back(key);
  const auto found = object_.find(key);
  return found == object_.end() ? absent : *found;
}

std::string ObjectReader::choice(const std::string& key, const std::string& fallback,
                                 const std::vector<std::string>& choices) {
  const auto value = get<std::string>(key, fallback);
  if (std::find(choices.begin(), choices.end(), value) != choices.end()) return value;
  std::string list;
  for (const auto& choice : choices) list += (list.empty() ? "" : ", ") + choice;
  throw UsageError("configuration: " + where(key) + ": found \"" + value + "\", expected one of " +
                   list);
}

void ObjectReader::finish() const {
  for (const auto& [key, value] : object_.items()) {
    if (std::find(known_.begin(), known_.end(), key) != known_.end()) continue;
    throw UsageError("configuration: " + where(key) + ": unknown key; the nearest known one is \"" +
                     nearest(key, known_) + "\"");
  }
}

void throw_wrong_type(const std::string& where, const Json& found, const std::string& expected) {
  std::string shown = dump_json(found, -1);
  if (shown.size() > 60) shown = shown.substr(0, 57) + "...";
  throw UsageError("configuration: " + where + ": found " + shown + ", expected " + expected);
}

std::string nearest(const std::string& word, const std::vector<std::string>& candidates) {
  const auto best =
      std::min_element(candidates.begin(), candidates.end(), [&](const auto& a, const auto& b) {
        return edit_distance(word, a) < edit_distance(word, b);
      });
  return best == candidates.end() ? "" : *best;
}

}  // namespace lamp
