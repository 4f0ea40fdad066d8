// Which JSON is the list of a data set. Not part of the library's interface.
#pragma once

#include <filesystem>
#include <string>

#include "lamp/base/json.h"

namespace lamp {

// "<folder>/dataset.json" (or in other letters, "Dataset.json"), the only other list in the folder,
// or `given` itself. Throws InputError.
std::filesystem::path find_dataset_json(const std::filesystem::path& given);
// Whether find_dataset_json() finds one in this folder that is called so or holds what a list of
// cases does.
bool has_case_list(const std::filesystem::path& folder);
// Whether a file of this name may be a list of cases: JSON, but none of the files that nnU-Net and
// LAMP put beside.
bool is_dataset_name(const std::filesystem::path& file);
// "a training configuration, for lamp train -c", if `json` is such a known thing and no data set;
// else empty.
std::string known_other_json(const Json& json);

}  // namespace lamp
