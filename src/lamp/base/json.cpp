// Printing and checking of JSON over nlohmann's library; json_parser.cpp reads it.
#include "lamp/base/json.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <utility>

#include "lamp/base/errors.h"
#include "lamp/base/foreign_keys.h"
#include "lamp/base/text.h"

namespace lamp {
namespace {

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
  } else if (value.is_number_unsigned()) {  // the library takes 1 KiB to print a number
    out += std::to_string(value.get<std::uint64_t>());
  } else if (value.is_number_integer()) {
    out += std::to_string(value.get<std::int64_t>());
  } else {
    out += value.dump(-1, ' ', false, Json::error_handler_t::replace);
  }
}

constexpr std::size_t kLongestWord = 64;  // comparing takes time as the product of both lengths

// Letters put in, left out, replaced, or exchanged with the next one.
std::size_t edit_distance(const std::string& a, const std::string& b) {
  std::vector<std::size_t> before, last, row(b.size() + 1);  // of i - 2, i - 1 and i letters of a
  std::iota(row.begin(), row.end(), std::size_t{0});
  for (std::size_t i = 1; i <= a.size(); ++i) {
    before = std::exchange(last, row);
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t replaced = last[j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1);
      row[j] = std::min({replaced, row[j - 1] + 1, last[j] + 1});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
        row[j] = std::min(row[j], before[j - 2] + 1);
    }
  }
  return row.back();
}

// About a third of a word.
std::size_t most_edits(const std::string& word) {
  return word.size() < 3 ? 0 : word.size() < 6 ? 1 : word.size() < 9 ? 2 : 3;
}

// What a user who typed `key` in the object at `where` may have meant.
std::string advice(const std::string& key, const std::string& where,
                   const std::vector<std::string>& known) {
  const std::string close = close_match(key, known);
  const std::string place = place_of_foreign_key(key);
  const std::string here = where.empty() ? "" : where + ".";
  const std::string last = place.substr(place.rfind('.') + 1);
  // "optimizer.learning_rate" has its "lr" right here; "learning_rate" at the top has not.
  if (!place.empty() && std::find(known.begin(), known.end(), last) != known.end() &&
      (place == here + last || !where.empty()))
    return "did you mean \"" + last + "\"?";
  if (!close.empty()) return "did you mean \"" + close + "\"?";
  if (!place.empty() && place != here + key) return "did you mean \"" + place + "\"?";
  return "known here: " + joined(known);
}

}  // namespace

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
  throw UsageError("configuration: " + where(key) + ": found \"" + shortened(value) +
                   "\", expected one of " + list);
}

void ObjectReader::finish() const {
  for (const auto& [key, value] : object_.items()) {
    if (std::find(known_.begin(), known_.end(), key) != known_.end()) continue;
    throw UsageError("configuration: " + shortened(where(key)) + ": unknown key; " +
                     advice(key, where_, known_));
  }
}

std::optional<Size3> size3_of(const Json& json) {
  if (!json.is_array() || json.size() != 3) return std::nullopt;
  Size3 size{};
  for (std::size_t axis = 0; axis < 3; ++axis) {
    if (!json[axis].is_number_integer()) return std::nullopt;
    size[axis] = json[axis].get<std::int64_t>();  // beyond its range it wraps to below zero
    if (size[axis] < 1 || size[axis] > kLongestSide) return std::nullopt;
  }
  return size;
}

void throw_wrong_type(const std::string& where, const Json& found, const std::string& expected) {
  std::string shown = dump_json(found, -1);
  if (shown.size() > 60) shown = shown.substr(0, 57) + "...";
  throw UsageError("configuration: " + where + ": found " + shown + ", expected " + expected);
}

std::string nearest(const std::string& text, const std::vector<std::string>& candidates) {
  const std::string word = text.substr(0, kLongestWord);
  const auto best =
      std::min_element(candidates.begin(), candidates.end(), [&](const auto& a, const auto& b) {
        return edit_distance(word, a) < edit_distance(word, b);
      });
  return best == candidates.end() ? "" : *best;
}

std::string close_match(const std::string& word, const std::vector<std::string>& candidates) {
  if (word.size() > kLongestWord) return "";
  const std::string best = nearest(word, candidates);
  if (!best.empty() && edit_distance(word, best) <= std::min(most_edits(word), best.size() - 1))
    return best;
  for (const std::string& candidate :
       candidates)  // "epoch" of "epochs_done", "every" of "every_epochs"
    if (word.size() >= 3 && (candidate.starts_with(word) || word.starts_with(candidate + "_")))
      return candidate;
  return "";
}

std::string nearest_or_known(const std::string& word, const std::vector<std::string>& candidates) {
  constexpr std::size_t kShown = 12;
  const std::string close = close_match(word, candidates);
  if (!close.empty()) return "the nearest is \"" + close + "\"";
  return "known: " + joined_first(candidates, kShown);
}

}  // namespace lamp
