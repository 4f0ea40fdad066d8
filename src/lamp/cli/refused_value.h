// What the parser of the command line has against an option's value, in the words of all other
// messages instead of its own.
#pragma once

#include <CLI/CLI.hpp>
#include <optional>
#include <string>

namespace lamp {

// "--batch: found \"x\", expected a whole number" for the error that the parser of `app` has thrown
// at a value of the wrong type or out of range, at a missing value or at one too many; nothing for
// any other error.
std::optional<std::string> refused_value(const CLI::App& app, const CLI::ParseError& error);

// "--format: found no value, expected one behind it" for the first option of the command in use, or
// of one above it, that was given "" (as by a shell's variable that is not set): it would pass for
// an option that was not given. Nothing if there is none. Options that may stand alone are left
// out.
std::optional<std::string> empty_value(const CLI::App& app);

}  // namespace lamp
