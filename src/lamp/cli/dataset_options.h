// Options that every command with a data set takes.
#pragma once

#include <CLI/CLI.hpp>

namespace lamp {

// --allow-outside: the data set may name files outside its folder.
void add_outside_option(CLI::App& command);

}  // namespace lamp
