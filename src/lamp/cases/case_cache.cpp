// Keys, the limit, and what to do when the disk says no.
#include "lamp/cases/case_cache.h"

#include <ATen/Version.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <torch/version.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <utility>
#include <vector>

#include "lamp/base/errors.h"
#include "lamp/base/log.h"
#include "lamp/base/sha256.h"
#include "lamp/base/text.h"
#include "lamp/cases/cache_folder.h"
#include "lamp/cases/case_file.h"

namespace lamp {
namespace fs = std::filesystem;
namespace {

constexpr auto kAbandoned =
    std::chrono::hours(24);  // a temporary file of a process that was killed

bool is_abandoned(const fs::path& file, fs::file_time_type changed) {
  const std::string name = file.filename().string();
  return name.starts_with('.') && is_cache_key(name.substr(1, kCacheKeyDigits)) &&
         name.find(".tmp.") != std::string::npos &&
         changed + kAbandoned < fs::file_time_type::clock::now();
}

struct CachedFile {
  fs::path path;
  fs::file_time_type used;
  std::int64_t bytes = 0;
};

// Least recently used first. Files may go while this looks.
std::vector<CachedFile> cached_files(const fs::path& folder) {
  std::vector<CachedFile> files;
  std::error_code error;
  for (fs::directory_iterator at(folder, error), end; !error && at != end; at.increment(error)) {
    std::error_code gone;
    if (!at->is_regular_file(gone)) continue;
    CachedFile file{.path = at->path(), .used = at->last_write_time(gone)};
    file.bytes = static_cast<std::int64_t>(at->file_size(gone));
    if (gone) continue;
    if (is_abandoned(file.path, file.used)) fs::remove(file.path, gone);
    if (is_cache_file(file.path)) files.push_back(std::move(file));
  }
  std::sort(files.begin(), files.end(),
            [](const CachedFile& a, const CachedFile& b) { return a.used < b.used; });
  return files;
}

std::string settings_text(const DataConfig& config, int classes) {
  return "case file " + std::to_string(kCaseFileVersion) + ", preparing " +
         std::to_string(kPreparingVersion) + ", torch " TORCH_VERSION ", " +
         at::get_cpu_capability() + ", labels " + std::to_string(classes) + "\n" +
         to_json(config).dump() + "\n";
}

void warn_of(const std::string& trouble, const fs::path& folder) {
  log_warning_once("the cache of prepared cases in " + folder.string() +
                   " cannot be written, so cases are prepared anew when they fall out of memory (" +
                   trouble + "); set loader.cache to a folder with space, or to \"off\"");
}

}  // namespace

std::optional<fs::path> default_case_cache() {
  const auto absolute = [](const char* name) -> std::optional<fs::path> {
    const char* value = std::getenv(name);
    if (value == nullptr || !fs::path(value).is_absolute()) return std::nullopt;
    return fs::path(value);
  };
  if (const auto cache = absolute("XDG_CACHE_HOME")) return *cache / "lamp" / "cases";
  if (const auto home = absolute("HOME")) return *home / ".cache" / "lamp" / "cases";
  return std::nullopt;
}

CaseCache::CaseCache(CaseCacheOptions options, const DataConfig& config, int classes)
    : options_(std::move(options)), settings_(settings_text(config, classes)) {
  try {
    claim_cache_folder(options_.folder);
  } catch (const UsageError&) {
    throw;  // somebody else's folder
  } catch (const Error& error) {
    writable_ = false;
    warn_of(error.what(), options_.folder);
  }
}

TrainingCase CaseCache::get(const Case& entry, const std::function<TrainingCase()>& prepare) {
  if (std::error_code error; !fs::is_directory(options_.folder, error)) return prepare();
  CaseSources sources;
  const fs::path stamp = stamp_path(options_.folder, entry);
  try {
    sources = read_case_sources(entry, stamp);
  } catch (const std::exception&) {
    return prepare();  // which says what is wrong with the files
  }
  use(stamp);
  const std::string key = sha256(settings_ + sources.digest).substr(0, kCacheKeyDigits);
  const fs::path file = options_.folder / (key + ".case");
  if (auto sample = map(file, key)) return *std::move(sample);
  TrainingCase sample = prepare();
  // A file that changed meanwhile may have been read before or after.
  if (!sources.unchanged() || !write(file, key, sample)) return sample;
  if (auto mapped = map(file, key)) return *std::move(mapped);
  return sample;
}

std::optional<TrainingCase> CaseCache::map(const fs::path& file, const std::string& key) {
  std::error_code error;
  if (!fs::exists(file, error)) return std::nullopt;
  try {
    TrainingCase sample = map_case_file(file, key);
    use(file);
    return sample;
  } catch (const Error& damage) {
    log_warning(std::string(damage.what()) + "; the case is prepared again");
    return std::nullopt;
  }
}

bool CaseCache::write(const fs::path& file, const std::string& key, const TrainingCase& sample) {
  const std::int64_t bytes = case_file_bytes(sample);
  {
    const std::lock_guard lock(mutex_);
    if (!writable_ || !make_room(bytes)) return false;
    pending_bytes_ += bytes;
  }
  bool written = true;
  try {
    write_case_file(file, key, sample);
  } catch (const Error& error) {
    written = false;
    warn_of(error.what(), options_.folder);
  }
  const std::lock_guard lock(mutex_);
  pending_bytes_ -= bytes;
  writable_ &= written;
  return written;
}

bool CaseCache::make_room(std::int64_t bytes) {
  const auto files = cached_files(options_.folder);
  std::int64_t total = 0;
  for (const CachedFile& file : files) total += file.bytes;
  std::error_code error;
  const fs::space_info space = fs::space(options_.folder, error);
  const std::int64_t free = error ? 0 : static_cast<std::int64_t>(space.available);
  const std::int64_t limit = options_.limit_bytes.value_or((total + free) / 2);
  std::int64_t excess = total + pending_bytes_ + bytes - limit;
  for (const CachedFile& file : files) {
    if (excess <= 0) return true;
    if (in_use_.contains(file.path.filename().string())) continue;
    if (fs::remove(file.path, error)) excess -= file.bytes;
  }
  // Removing what this run uses itself would only have it written again in the next epoch.
  if (excess > 0)
    log_warning_once("the cache of prepared cases in " + options_.folder.string() +
                     " is full at its limit of " + bytes_text(limit) +
                     ", so some cases are prepared anew when they fall out of memory; raise "
                     "loader.cache_limit or name a roomier folder in loader.cache");
  return excess <= 0;
}

void CaseCache::use(const fs::path& file) {
  // May fail: then it only seems older. A link's own time, for what it points to is not ours.
  utimensat(AT_FDCWD, file.c_str(), nullptr, AT_SYMLINK_NOFOLLOW);
  const std::lock_guard lock(mutex_);
  in_use_.insert(file.filename().string());
}

}  // namespace lamp
