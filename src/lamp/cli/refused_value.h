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

}  // namespace lamp
