// Which cases are kept for testing. Not part of the library's interface.
#pragma once

#include <string>
#include <vector>

#include "lamp/convert/prepare_source.h"

namespace lamp {

// The names of the test cases. Throws UsageError for names that are not there and for more cases
// than are fully annotated.
std::vector<std::string> choose_test_cases(const SourceSet& set, const PrepareOptions& options);

}  // namespace lamp
