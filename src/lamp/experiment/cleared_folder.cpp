#include "lamp/experiment/cleared_folder.h"

#include <system_error>

#include "lamp/base/errors.h"
#include "lamp/base/files.h"
#include "lamp/base/log.h"
#include "lamp/base/output_lock.h"

namespace lamp {
namespace fs = std::filesystem;
namespace {

bool is_all_own(const fs::path& folder, const OwnTest& is_own) {
  std::error_code error;
  for (const auto& entry : fs::recursive_directory_iterator(folder, error)) {
    if (entry.is_symlink(error)) return false;
    if (entry.is_directory(error) || is_temporary_name(entry.path()) || is_lock_file(entry.path()))
      continue;
    if (!entry.is_regular_file(error) || !is_own(entry.path())) return false;
  }
  return !error;
}

}  // namespace

void put_aside(const fs::path& path, const std::string& reason) {
  fs::path other;
  for (int number = 1; other.empty() || fs::exists(fs::symlink_status(other)); ++number)
    other = path.string() + ".before-" + std::to_string(number);
  std::error_code error;
  fs::rename(path, other, error);
  if (error) throw Error("experiment: cannot move " + path.string() + ": " + error.message());
  log_warning(path.string() + " is now " + other.string() + ": " + reason);
}

void clear_folder(const fs::path& folder, const OwnTest& is_own) {
  std::error_code error;
  if (!fs::exists(fs::symlink_status(folder, error))) return;
  if (!is_all_own(folder, is_own))
    return put_aside(folder, "it holds files that lamp did not write, or that were changed since");
  fs::remove_all(folder, error);
  if (error) throw Error("experiment: cannot remove " + folder.string() + ": " + error.message());
}

}  // namespace lamp
