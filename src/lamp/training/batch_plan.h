// Which patch of which case goes into which step: a pure function of (seed, stage, step), so that
// any number of loader threads and any resume see the same batches.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "lamp/augment/augmentation.h"
#include "lamp/cases/case_store.h"
#include "lamp/cases/patch_sampler.h"
#include "lamp/training/train_config.h"

namespace lamp {

class BatchPlan {
 public:
  // `cases` are indices into the store, the ones to train on; not empty. Without an augmenter
  // patches stay as they are cut.
  BatchPlan(const StageConfig& stage, std::int64_t stage_index, bool centre_by_class,
            std::uint64_t seed, std::vector<std::size_t> cases,
            std::optional<Augmenter> augmenter = std::nullopt);

  // Steps until every case has been drawn once; a batch larger than the number of cases draws some
  // again.
  std::int64_t steps_per_epoch() const;
  // The cases of step `step` (counted through the stage). All cases once before any comes twice, in
  // a new order each epoch, so that batches mix cases.
  std::vector<std::size_t> cases_of(std::int64_t step) const;
  Batch make(std::int64_t step, CaseStore& store) const;

 private:
  std::size_t case_at(std::int64_t epoch, std::int64_t slot) const;

  StageConfig stage_;
  std::uint64_t stage_index_;
  PatchOptions options_;
  std::uint64_t seed_;
  std::vector<std::size_t> cases_;
  std::optional<Augmenter> augmenter_;
};

}  // namespace lamp
