// What options that name output files have in common, and the pictures that `plan` and `simulate`
// write.
#pragma once

#include <CLI/CLI.hpp>
#include <string>

#include "lamp/base/own_output.h"
#include "lamp/report/timeline_picture.h"

namespace lamp {

// Refuses an empty name, which would count as not given, and "-".
CLI::Validator names_an_output();

// Empty = not asked for.
struct PictureFiles {
  std::string svg, trace;
};
// --svg, which draws `what`, and --trace.
void add_options(CLI::App& command, PictureFiles& files, const std::string& what);
// The files, to be checked before any work.
OutputList picture_outputs(const PictureFiles& files);
// Checks once more and writes what was asked for.
void write_picture_files(const PictureFiles& files, const TimelinePicture& picture);

}  // namespace lamp
