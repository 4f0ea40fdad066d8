// JSON text into values.
#pragma once

#include <cstddef>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

namespace lamp {

using Json = nlohmann::ordered_json;  // keeps the order of keys, which some dialects give a meaning

// What a document may hold: files come from strangers, and printing, copying and comparing a deeper
// one would end in a stack overflow.
inline constexpr std::size_t kDeepestJson = 200;
inline constexpr std::size_t kMostJsonValues = 5'000'000;

// Parses JSON that may hold // and /* */ comments, in time linear in its length. Throws InputError
// with the line for what is no JSON, a key given twice in one object (both lines are named), more
// than kDeepestJson levels or kMostJsonValues values, and for UTF-16.
Json parse_json(std::string_view text, const std::string& file);
Json read_json(const std::filesystem::path& file);
// The same of a file that says what the program is to do, such as a configuration or a plan: what
// is wrong with it is a UsageError in the same words.
Json read_settings_file(const std::filesystem::path& file);

}  // namespace lamp
