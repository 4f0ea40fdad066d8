// Known by contents, as a run's folder is.
#include "lamp/cases/cache_folder.h"

#include <algorithm>
#include <cstddef>
#include <string>
#include <system_error>
#include <vector>

#include "lamp/base/errors.h"
#include "lamp/base/files.h"
#include "lamp/base/own_output.h"
#include "lamp/base/text.h"

namespace lamp {
namespace fs = std::filesystem;
namespace {

constexpr const char* kCacheMark = "lamp_cache.json";
constexpr const char* kCacheWriter = "lamp cache of prepared cases";

bool is_marked_cache(const fs::path& folder) {
  std::error_code error;
  const fs::path mark = folder / kCacheMark;
  return fs::is_regular_file(mark, error) && own_json(kCacheWriter)(mark);
}

// No JSON at all: written half, or its disk has lost it.
bool is_damaged_mark(const fs::path& mark) {
  std::error_code error;
  if (!fs::is_regular_file(mark, error)) return false;
  try {
    return Json::parse(read_file(mark), nullptr, /*allow_exceptions=*/false).is_discarded();
  } catch (const InputError&) {  // nothing is known of it
    return false;
  }
}

// What lamp bench input made beside the cases, if it was killed.
bool is_bench_folder(const fs::directory_entry& entry) {
  std::error_code error;
  return entry.is_directory(error) && entry.path().filename().string().starts_with("bench-");
}

// What NFS keeps of a file that was removed while some process has it open, or mapped.
bool is_removed_file(const fs::path& file) { return file.filename().string().starts_with(".nfs"); }

std::vector<std::string> foreign_names_in_cache(const fs::path& folder) {
  std::vector<std::string> names;
  std::error_code error;
  for (fs::directory_iterator at(folder, error), end; !error && at != end; at.increment(error)) {
    std::error_code gone;
    const fs::file_type type = at->symlink_status(gone).type();
    const bool own =
        is_cache_file(at->path()) || is_temporary_name(at->path()) || is_removed_file(at->path());
    if (gone || type == fs::file_type::not_found) continue;
    if (own && type == fs::file_type::regular) continue;
    if (!is_bench_folder(*at)) names.push_back(at->path().filename().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

// Parents that are missing are made for this user alone, too.
void make_private_folder(const fs::path& folder) {
  std::error_code error;
  if (fs::is_directory(folder, error)) return;
  const fs::path parent = folder.parent_path();
  if (!parent.empty() && parent != folder) make_private_folder(parent);
  if (fs::create_directory(folder, error)) fs::permissions(folder, fs::perms::owner_all, error);
  if (error) throw Error("cannot create: " + folder.string() + ": " + error.message());
}

}  // namespace

bool is_cache_key(const std::string& text) {
  return text.size() == kCacheKeyDigits && std::all_of(text.begin(), text.end(), [](char c) {
           return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
         });
}

bool is_cache_file(const fs::path& file) {
  return (file.extension() == ".case" || file.extension() == ".stamp") &&
         is_cache_key(file.stem().string());
}

void check_cache_folder(const fs::path& folder) {
  if (is_marked_cache(folder)) return;
  auto names = foreign_names_in_cache(folder);
  // Another process may have begun the cache while we looked.
  if (names.empty() || is_marked_cache(folder)) return;
  if (names == std::vector<std::string>{kCacheMark} && is_damaged_mark(folder / kCacheMark))
    throw UsageError("configuration: loader.cache: found a damaged " + std::string(kCacheMark) +
                     " in " + folder.string() +
                     ", expected what lamp wrote; remove that file, and it is made again (the "
                     "prepared cases stay), or choose another folder or \"off\"");
  names.front() = shortened(names.front());
  throw UsageError("configuration: loader.cache: found " + folder.string() + " with " +
                   joined_first(names, 1) +
                   ", expected a new or empty folder or a cache of lamp; choose another folder, "
                   "such as one within it, or \"off\"");
}

void claim_cache_folder(const fs::path& folder) {
  check_cache_folder(folder);
  make_private_folder(folder);
  if (is_marked_cache(folder)) return;
  const Json mark = written_by(kCacheWriter, {{"about",
                                               "lamp train keeps prepared cases in this folder and "
                                               "removes those used longest ago"}});
  write_file(folder / kCacheMark, dump_json(mark) + "\n");
}

}  // namespace lamp
