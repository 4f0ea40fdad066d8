// JSON with comments in, and objects whose unknown keys are errors that name a near key or all.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "lamp/base/json_parser.h"
#include "lamp/base/size3.h"

namespace lamp {

// Serialises like Python's json module: bare NaN, Infinity and -Infinity (nlohmann would write
// null).
std::string dump_json(const Json& value, int indent = 1);

// Reads the members of one JSON object, remembers which were asked for, and refuses the rest.
// Errors are UsageError "configuration: <where>.<key>: ...". The object must outlive the reader.
class ObjectReader {
 public:
  ObjectReader(const Json& object, std::string where);

  bool has(const std::string& key);
  // The member, or null if absent. Counts the key as known.
  const Json& at(const std::string& key);
  // The member converted to T, or `fallback` if it is absent. A wrong type is an error that names
  // both types.
  template <typename T>
  T get(const std::string& key, const T& fallback);
  // A string that must be one of `choices`.
  std::string choice(const std::string& key, const std::string& fallback,
                     const std::vector<std::string>& choices);
  // Throws if the object holds a key that was never asked for. Call it last.
  void finish() const;
  std::string where(const std::string& key) const {
    return where_.empty() ? key : where_ + "." + key;
  }

 private:
  const Json& object_;
  std::string where_;
  std::vector<std::string> known_;
};

// The candidate with the fewest edits to `word`; empty if there is none.
std::string nearest(const std::string& word, const std::vector<std::string>& candidates);

// The candidate that `word` may have been meant to be: about a third of its letters away at the
// most, or beginning alike; empty if none is close.
std::string close_match(const std::string& word, const std::vector<std::string>& candidates);

// For messages: the close match, or else which words there are (the first of many).
std::string nearest_or_known(const std::string& word, const std::vector<std::string>& candidates);

// UsageError "configuration: <where>: found ..., expected ...".
[[noreturn]] void throw_wrong_type(const std::string& where, const Json& found,
                                   const std::string& expected);

// [128, 128, 96] as x, y, z; nothing unless it is three whole numbers from 1 to kLongestSide.
std::optional<Size3> size3_of(const Json& json);

template <typename T>
T ObjectReader::get(const std::string& key, const T& fallback) {
  const Json& found = at(key);
  if (found.is_null()) return fallback;
  const char* expected = nullptr;
  if constexpr (std::is_same_v<T, bool>) {
    if (!found.is_boolean()) expected = "true or false";
  } else if constexpr (std::is_integral_v<T>) {
    if (!found.is_number_integer()) expected = "a whole number";
    // The library would silently drop the upper bits.
    else if (!(found.is_number_unsigned() ? std::in_range<T>(found.get<std::uint64_t>())
                                          : std::in_range<T>(found.get<std::int64_t>())))
      expected = "a smaller whole number";
  } else if constexpr (std::is_floating_point_v<T>) {
    if (!found.is_number()) expected = "a number";
  } else if constexpr (std::is_same_v<T, std::string>) {
    if (!found.is_string()) expected = "a string";
  }
  if (expected) throw_wrong_type(where(key), found, expected);
  try {
    return found.get<T>();
  } catch (const nlohmann::json::exception&) {
    throw_wrong_type(where(key), found, "another type");
  }
}

// A number above zero, or of zero and more. Throws UsageError that names the key.
template <typename T>
T positive(ObjectReader& reader, const std::string& key, T fallback, bool zero_allowed = false) {
  const T value = reader.get<T>(key, fallback);
  if (!(value > 0) && !(zero_allowed && value == 0))
    throw_wrong_type(reader.where(key), reader.at(key),
                     zero_allowed ? "zero or more" : "more than zero");
  return value;
}

}  // namespace lamp
