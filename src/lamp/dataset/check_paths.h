// `lamp check`: one report over everything that was named, a data set or images.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "lamp/dataset/dataset_check.h"

namespace lamp {

// check_dataset() of the one data set among `paths`, or check_images() of all of them. `preview`:
// the folder for a picture of each case; empty = none. `observer` sees a data set's images, not
// single ones. Throws UsageError where they are neither,
// such as images beside a data set.
CheckReport check_paths(const std::vector<std::string>& paths, const ReadOptions& read,
                        const std::filesystem::path& preview = {},
                        const ImageObserver& observer = {});

// Throws Error with the first fault, the number of the others and the exit code of bad input.
void throw_if_faulty(const CheckReport& report);

}  // namespace lamp
