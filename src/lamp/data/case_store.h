// The training cases of a data set, prepared once and kept as long as a memory limit allows.
#pragma once

#include <cstdint>
#include <list>
#include <memory>
#include <mutex>
#include <vector>

#include "lamp/data/datalist.h"
#include "lamp/data/patch_sampler.h"
#include "lamp/data/preprocess.h"

namespace lamp {

// Thread-safe. A case that fell out of memory is read and prepared again when it is asked for; one
// that is handed out stays alive for as long as its shared_ptr does. Throws InputError for damaged
// files.
class CaseStore {
 public:
  // `dataset` is copied. The cases are dataset.training's, by index.
  CaseStore(Dataset dataset, DataConfig config, std::int64_t limit_bytes);

  std::shared_ptr<const TrainingCase> get(std::size_t index);
  std::size_t size() const { return dataset_.training.size(); }
  const Dataset& dataset() const { return dataset_; }

 private:
  struct Slot {
    std::mutex loading;  // held while this case is read, so that it is read once
    std::shared_ptr<const TrainingCase> sample;  // guarded by mutex_
  };
  std::shared_ptr<const TrainingCase> load(std::size_t index) const;
  void keep(std::size_t index, std::shared_ptr<const TrainingCase> sample);

  const Dataset dataset_;
  const DataConfig config_;
  const std::int64_t limit_bytes_;
  std::mutex mutex_;  // guards all below
  std::vector<std::unique_ptr<Slot>> slots_;
  std::list<std::size_t> recent_;  // most recently used first
  std::int64_t used_bytes_ = 0;
};

}  // namespace lamp
