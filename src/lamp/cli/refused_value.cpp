// The parser's errors hold a text only: the option is found by the name in it, the rest is asked of
// the option.
#include "lamp/cli/refused_value.h"

#include <algorithm>
#include <string_view>
#include <vector>

#include "lamp/base/text.h"

namespace lamp {
namespace {

constexpr std::string_view kNotConverted = "Could not convert: ";
constexpr std::string_view kNotInRange = " not in range ";

// "--batch" of "Could not convert: --batch = x" and of "--batch: 1 required INT missing".
std::string name_in(std::string_view message) {
  if (message.starts_with(kNotConverted)) message.remove_prefix(kNotConverted.size());
  return std::string(message.substr(0, message.find_first_of(": ")));
}

// In the command in use, or in one above it.
const CLI::Option* option_named(const CLI::App& app, const std::string& name) {
  for (const CLI::App* command : app.get_subcommands())
    if (const CLI::Option* option = option_named(*command, name)) return option;
  for (const CLI::Option* option : app.get_options())
    if (option->get_name() == name) return option;
  return nullptr;
}

bool is_whole(const std::string& text) {
  const std::size_t first = text.starts_with('-') || text.starts_with('+') ? 1 : 0;
  return text.size() > first && text.find_first_not_of("0123456789", first) == std::string::npos;
}

// The type stands in front of what the validators say of themselves: "INT:INT in [1 - 4096]".
std::string expected_by(const CLI::Option& option, const std::string& value) {
  if (option.get_items_expected_max() == 0) return "true or false, or the option without a value";
  const std::string type = option.get_type_name().substr(0, option.get_type_name().find(':'));
  const bool several = option.get_items_expected_max() > 1;
  if (type == "FLOAT") return several ? "numbers, separated by commas" : "a number";
  if (type != "INT" && type != "UINT") return "one behind it";
  if (several) return "whole numbers, separated by commas";
  return is_whole(value) ? "a smaller whole number" : "a whole number";
}

bool has_empty_value(const CLI::Option& option) {
  const std::vector<std::string>& values = option.results();
  return option.nonpositional() && option.get_items_expected_min() > 0 &&
         std::find(values.begin(), values.end(), "") != values.end();
}

// "1 to 1000" of "--rounds: Value 0 not in range 1 to 1000"; empty if that is not the fault. The
// range of numbers above zero is spelt with all their digits.
std::string expected_by_range(const std::string& message) {
  const auto place = message.rfind(kNotInRange);
  if (place == std::string::npos) return "";
  const std::string range = message.substr(place + kNotInRange.size());
  return range.find('.') == std::string::npos ? "a whole number, " + range : "a number above zero";
}

}  // namespace

std::optional<std::string> refused_value(const CLI::App& app, const CLI::ParseError& error) {
  const std::string message = error.what(), kind = error.get_name();
  const CLI::Option* option = option_named(app, name_in(message));
  if (option == nullptr) return std::nullopt;
  const std::string name = option->get_name() + ": ";
  const std::vector<std::string>& values = option->results();
  const std::string value = joined(values, ",");
  if (kind == "ConversionError")
    return name + "found \"" + shortened(value) + "\", expected " + expected_by(*option, value);
  if (kind == "ArgumentMismatch" && message.ends_with(" missing"))
    return name + "found no value, expected " + expected_by(*option, "");
  if (kind == "ArgumentMismatch" && option->get_items_expected_max() == 1 && values.size() > 1)
    return name + "found " + counted(values.size(), "value") + ", expected one";
  const std::string expected = expected_by_range(message);
  if (kind == "ValidationError" && !expected.empty())
    return name + "found \"" + shortened(value) + "\", expected " + expected;
  return std::nullopt;
}

std::optional<std::string> empty_value(const CLI::App& app) {
  for (const CLI::Option* option : app.get_options())
    if (has_empty_value(*option))
      return option->get_name() + ": found no value, expected " + expected_by(*option, "");
  for (const CLI::App* command : app.get_subcommands())
    if (const auto found = empty_value(*command)) return found;
  return std::nullopt;
}

}  // namespace lamp
