// Prepared cases on disk, so that a data set is read and resampled once, whatever the number of
// runs and epochs. A case is found by what it was made from (bytes of its files) and how (settings
// of "data", number of labels, versions of this program's preparing and of torch); so a changed
// file, a changed setting or another program is never served something old.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>

#include "lamp/cases/case_sources.h"
#include "lamp/cases/patch_sampler.h"
#include "lamp/cases/preprocess.h"
#include "lamp/dataset/datalist.h"

namespace lamp {

struct CaseCacheOptions {
  std::filesystem::path folder;  // made if missing, for this user alone
  // All cases together; beyond it those used longest ago go. None = half of what the cache and the
  // free space beside it make together.
  std::optional<std::int64_t> limit_bytes;
};

// $XDG_CACHE_HOME/lamp/cases or ~/.cache/lamp/cases; nothing where neither is set.
std::optional<std::filesystem::path> default_case_cache();

// Thread-safe, and safe beside other processes on the same folder: files appear whole, and one that
// another process removes lives on for as long as it is mapped. Trouble with the folder never fails
// a run: it is told once, and cases are prepared as if there were no cache. But a folder with other
// contents is none for a cache.
class CaseCache {
 public:
  // Throws UsageError for a folder that check_cache_folder refuses.
  CaseCache(CaseCacheOptions options, const DataConfig& config, int classes);

  // The case, mapped from its file. One that is not there, or whose file is damaged (which is
  // told), is prepared by `prepare` and written; if that cannot be done, what `prepare` gave is
  // returned. What `prepare` throws is thrown. Sets neither name nor annotation.
  TrainingCase get(const Case& entry, const std::function<TrainingCase()>& prepare);

  const std::filesystem::path& folder() const { return options_.folder; }

 private:
  std::optional<TrainingCase> map(const std::filesystem::path& file, const std::string& key);
  bool write(const std::filesystem::path& file, const std::string& key, const TrainingCase& sample);
  bool make_room(std::int64_t bytes);  // needs mutex_
  void use(const std::filesystem::path& file);

  const CaseCacheOptions options_;
  const std::string settings_;  // the part of the key that all cases share
  std::mutex mutex_;            // guards all below
  bool writable_ = true;
  std::set<std::string> in_use_;    // file names this process has asked for: they are not removed
  std::int64_t pending_bytes_ = 0;  // being written
};

}  // namespace lamp
