// Runs Python from the virtual environment that scripts/setup makes: what we write, others read,
// and the other way round. The test's target defines LAMP_PYTHON.
#pragma once

#include <cstdlib>
#include <fstream>
#include <string>

#include "support/temporary_folder.h"

namespace lamp::testing {

// Runs the script with `arguments`; its exit status is 0 only if its assertions hold.
inline int run_python(const TemporaryFolder& folder, const std::string& script,
                      const std::string& arguments) {
  std::ofstream(folder / "script.py") << script;
  const std::string command =
      std::string(LAMP_PYTHON) + " " + (folder / "script.py").string() + " " + arguments;
  return std::system(command.c_str());
}

}  // namespace lamp::testing
