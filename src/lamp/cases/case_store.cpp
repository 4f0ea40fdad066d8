// Least recently used cases go first when the limit is reached.
#include "lamp/cases/case_store.h"

#include <torch/types.h>

#include <utility>

#include "lamp/cases/intensity_stats.h"
#include "lamp/dataset/case_volumes.h"

namespace lamp {

CaseStore::CaseStore(Dataset dataset, DataConfig config, const CaseStoreOptions& options)
    : dataset_(std::move(dataset)), config_(std::move(config)), limit_bytes_(options.limit_bytes) {
  if (options.cache) cache_.emplace(*options.cache, config_, classes());
  for (std::size_t i = 0; i < dataset_.training.size(); ++i)
    slots_.push_back(std::make_unique<Slot>());
}

std::shared_ptr<const TrainingCase> CaseStore::get(std::size_t index) {
  Slot& slot = *slots_.at(index);
  const std::lock_guard loading(slot.loading);
  {
    const std::lock_guard lock(mutex_);
    if (slot.sample) {
      recent_.remove(index);
      recent_.push_front(index);
      return slot.sample;
    }
  }
  auto sample = load(index);
  keep(index, sample);
  return sample;
}

std::shared_ptr<const TrainingCase> CaseStore::load(std::size_t index) {
  const Case& entry = dataset_.training[index];
  auto sample = std::make_shared<TrainingCase>(
      cache_ ? cache_->get(entry, [&] { return prepare(entry); }) : prepare(entry));
  sample->name = entry.name;
  sample->annotated = entry.annotated.value_or(std::vector<int>{});
  return sample;
}

TrainingCase CaseStore::prepare(const Case& entry) {
  ++prepared_;
  const PreparedImage image = place_image(read_case_image(entry, config_.read_options()), config_);
  CodedImage coded = encode_image(image.voxels, config_.window);
  TrainingCase sample{.stored = std::move(coded.stored), .code = coded.code};
  sample.label =
      prepare_label(read_case_label(entry, dataset_, config_.read_options()), image.path);
  index_foreground(sample, classes());
  sample.intensities = pack_intensities(count_intensities(image.voxels, sample.label));
  return sample;
}

void CaseStore::keep(std::size_t index, std::shared_ptr<const TrainingCase> sample) {
  const std::lock_guard lock(mutex_);
  used_bytes_ += sample->bytes();
  slots_[index]->sample = std::move(sample);
  recent_.push_front(index);
  while (used_bytes_ > limit_bytes_ && recent_.size() > 1) {
    const std::size_t oldest = recent_.back();
    recent_.pop_back();
    used_bytes_ -= slots_[oldest]->sample->bytes();
    slots_[oldest]->sample.reset();
  }
}

}  // namespace lamp
