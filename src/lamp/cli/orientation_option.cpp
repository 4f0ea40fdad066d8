// One name and one help text for all commands.
#include "lamp/cli/orientation_option.h"

#include <string>

namespace lamp {

void add_orientation_option(CLI::App& command, std::optional<NiftiForm>& form) {
  command
      .add_option_function<std::string>(
          "--orientation", [&form](const std::string& name) { form = parse_nifti_form(name); },
          "sform or qform: which holds where a NIfTI file's sform, qform and pixdim contradict "
          "each other; default: such files are refused")
      ->type_name("sform|qform");
}

}  // namespace lamp
