// The training cases of a data set, prepared once: mapped from a cache on disk, or kept in memory
// as far as a limit allows.
#pragma once

#include <atomic>
#include <cstdint>
#include <list>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "lamp/cases/case_cache.h"
#include "lamp/cases/patch_sampler.h"
#include "lamp/cases/preprocess.h"
#include "lamp/dataset/datalist.h"

namespace lamp {

struct CaseStoreOptions {
  std::int64_t limit_bytes = 0;           // of cases in memory; mapped ones cost none of their own
  std::optional<CaseCacheOptions> cache;  // none = memory alone
};

// Thread-safe. A case that fell out of memory is mapped or prepared again when it is asked for; one
// that is handed out stays alive for as long as its shared_ptr does. With and without the cache,
// the cases have the same bits. Throws InputError for damaged files.
class CaseStore {
 public:
  // `dataset` is copied. The cases are dataset.training's, by index.
  CaseStore(Dataset dataset, DataConfig config, const CaseStoreOptions& options);

  std::shared_ptr<const TrainingCase> get(std::size_t index);
  std::size_t size() const { return dataset_.training.size(); }
  const Dataset& dataset() const { return dataset_; }
  // How many cases were read and prepared so far, each time counted.
  std::int64_t prepared() const { return prepared_; }

 private:
  struct Slot {
    std::mutex loading;  // held while this case is read, so that it is read once
    std::shared_ptr<const TrainingCase> sample;  // guarded by mutex_
  };
  std::shared_ptr<const TrainingCase> load(std::size_t index);
  TrainingCase prepare(const Case& entry);
  int classes() const { return static_cast<int>(dataset_.labels.rbegin()->first) + 1; }
  void keep(std::size_t index, std::shared_ptr<const TrainingCase> sample);

  const Dataset dataset_;
  const DataConfig config_;
  const std::int64_t limit_bytes_;
  std::optional<CaseCache> cache_;
  std::atomic<std::int64_t> prepared_ = 0;
  std::mutex mutex_;  // guards all below
  std::vector<std::unique_ptr<Slot>> slots_;
  std::list<std::size_t> recent_;  // most recently used first
  std::int64_t used_bytes_ = 0;
};

}  // namespace lamp
