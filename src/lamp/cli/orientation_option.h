// --orientation, which every command takes that reads images or label maps of strangers.
#pragma once

#include <CLI/CLI.hpp>
#include <optional>

#include "lamp/volume/volume.h"

namespace lamp {

// Which form of a NIfTI file holds where they contradict each other. `form` lives as long as the
// command and keeps its value where the option is not given.
void add_orientation_option(CLI::App& command, std::optional<NiftiForm>& form);

}  // namespace lamp
