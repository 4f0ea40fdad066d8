// "Did you mean": what a mistyped command or option was meant to be, by its letters and by the
// words that nnU-Net, MONAI and PyTorch have for the same thing.
#pragma once

#include <CLI/CLI.hpp>
#include <optional>
#include <string>
#include <vector>

namespace lamp {

// The message for the first word of the command line that is neither an option nor an option's
// value, where it names no command of `app`, or for an option before the command that `app` itself
// has not. To be asked before parsing, because the parser calls either a missing command.
std::optional<std::string> unknown_command(const CLI::App& app, int argc, const char* const* argv);

// The message for the first of the words that the parser of `app` (or of the command in use) could
// not place, after parsing failed; nothing if there is none.
std::optional<std::string> unknown_option(const CLI::App& app);

}  // namespace lamp
