// Keyed shuffles and keyed patches.
#include "lamp/training/batch_plan.h"

#include <torch/types.h>

#include <numeric>
#include <utility>

#include "lamp/base/random.h"
#include "lamp/base/random_streams.h"

namespace lamp {
BatchPlan::BatchPlan(const StageConfig& stage, std::int64_t stage_index, bool centre_by_class,
                     std::uint64_t seed, std::vector<std::size_t> cases,
                     std::optional<Augmenter> augmenter)
    : stage_(stage),
      stage_index_(static_cast<std::uint64_t>(stage_index)),
      options_{.size = stage.patch, .by_class = centre_by_class},
      seed_(seed),
      cases_(std::move(cases)),
      augmenter_(std::move(augmenter)) {
  TORCH_CHECK(!cases_.empty() && stage.batch > 0, "a batch plan needs cases and a batch size");
}

std::int64_t BatchPlan::steps_per_epoch() const {
  return (static_cast<std::int64_t>(cases_.size()) + stage_.batch - 1) / stage_.batch;
}

std::size_t BatchPlan::case_at(std::int64_t epoch, std::int64_t slot) const {
  const auto count = static_cast<std::int64_t>(cases_.size());
  std::vector<std::size_t> order(cases_.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  Random random{seed_, kBatchOrderStream, stage_index_, static_cast<std::uint64_t>(epoch),
                static_cast<std::uint64_t>(slot / count)};
  for (std::int64_t i = count - 1; i > 0; --i)
    std::swap(order[static_cast<std::size_t>(i)],
              order[static_cast<std::size_t>(random.below(i + 1))]);
  return cases_[order[static_cast<std::size_t>(slot % count)]];
}

std::vector<std::size_t> BatchPlan::cases_of(std::int64_t step) const {
  const std::int64_t epoch = step / steps_per_epoch();
  const std::int64_t first = step % steps_per_epoch() * stage_.batch;
  std::vector<std::size_t> chosen;
  for (std::int64_t slot = first; slot < first + stage_.batch; ++slot)
    chosen.push_back(case_at(epoch, slot));
  return chosen;
}

Batch BatchPlan::make(std::int64_t step, CaseStore& store) const {
  std::vector<Patch> patches;
  std::vector<std::vector<int>> annotated;
  std::uint64_t position = 0;
  for (const std::size_t index : cases_of(step)) {
    const auto sample = store.get(index);
    const auto key = [&](std::uint64_t stream) {
      return Random{seed_, stream, stage_index_, static_cast<std::uint64_t>(step), position};
    };
    Random place = key(kBatchPatchStream), change = key(kBatchAugmentStream);
    ++position;
    patches.push_back(cut_patch(*sample, options_, place));
    annotated.push_back(sample->annotated);
    if (augmenter_) patches.back() = augmenter_->augment(patches.back(), annotated.back(), change);
  }
  return collate(patches, std::move(annotated));
}

}  // namespace lamp
