// Making room in an experiment's folder: what LAMP wrote goes, what a person left there stays.
#pragma once

#include <filesystem>
#include <string>

#include "lamp/base/own_output.h"

namespace lamp {

// Removes `folder` if `is_own` says so of every file in it; else moves it aside as put_aside()
// does. Nothing happens where it is not there.
void clear_folder(const std::filesystem::path& folder, const OwnTest& is_own);

// Renames `path` to the first of PATH.before-1, PATH.before-2, ... that is free, and warns, giving
// `reason`. Throws Error if that fails.
void put_aside(const std::filesystem::path& path, const std::string& reason);

}  // namespace lamp
