// One wording for all commands.
#include "lamp/cli/dataset_options.h"

#include "lamp/dataset/dataset_paths.h"

namespace lamp {

void add_outside_option(CLI::App& command) {
  command.add_flag_callback(
      "--allow-outside", [] { allow_outside_files(true); },
      "read files outside the data set's folder too, where its list names such");
}

}  // namespace lamp
