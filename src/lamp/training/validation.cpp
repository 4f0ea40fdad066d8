// Whole-volume inference without gradients, one case after another.
#include "lamp/training/validation.h"

#include <torch/torch.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "lamp/base/beyond_scan.h"
#include "lamp/base/errors.h"
#include "lamp/base/random.h"
#include "lamp/base/text.h"
#include "lamp/objective/overlap.h"
#include "lamp/training/run_log.h"

namespace lamp {
namespace {

constexpr std::uint64_t kSplitStream = 3;

}  // namespace

CaseSplit split_cases(const std::vector<Case>& cases, const ValidationConfig& config,
                      std::uint64_t seed) {
  CaseSplit split;
  if (config.fold) {
    for (std::size_t i = 0; i < cases.size(); ++i)
      (cases[i].fold == config.fold ? split.validation : split.training).push_back(i);
    if (split.validation.empty() || split.training.empty())
      throw UsageError("configuration: validation.fold: fold " + std::to_string(*config.fold) +
                       " holds none or all of the training cases");
    return split;
  }
  const auto count = static_cast<std::int64_t>(cases.size());
  std::int64_t held_out = std::llround(config.fraction * static_cast<double>(count));
  if (config.fraction > 0) held_out = std::max<std::int64_t>(held_out, 1);
  held_out = std::min(held_out, count - 1);
  std::vector<std::size_t> order(cases.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  Random random{seed, kSplitStream};
  for (std::int64_t i = count - 1; i > 0; --i)
    std::swap(order[static_cast<std::size_t>(i)],
              order[static_cast<std::size_t>(random.below(i + 1))]);
  split.validation.assign(order.begin(), order.begin() + held_out);
  split.training.assign(order.begin() + held_out, order.end());
  std::sort(split.validation.begin(), split.validation.end());
  std::sort(split.training.begin(), split.training.end());
  return split;
}

CaseSplit split_dataset(Dataset& dataset, const ValidationConfig& config, std::uint64_t seed) {
  if (dataset.validation.empty()) return split_cases(dataset.training, config, seed);
  CaseSplit split;
  split.training.resize(dataset.training.size());
  split.validation.resize(dataset.validation.size());
  std::iota(split.training.begin(), split.training.end(), std::size_t{0});
  std::iota(split.validation.begin(), split.validation.end(), dataset.training.size());
  for (Case& entry : dataset.validation) dataset.training.push_back(std::move(entry));
  dataset.validation.clear();
  return split;
}

std::vector<double> dice_per_label(const torch::Tensor& predicted, const torch::Tensor& reference,
                                   int classes, const std::vector<int>& annotated) {
  ValidationCounter counter(classes);
  counter.add(predicted, reference, annotated);
  return counter.result().dice;
}

double Validation::dice_mean() const {
  const double mean = mean_dice(dice);
  return std::isnan(mean) && scored ? 1 : mean;
}

std::string Validation::describe() const {
  if (!scored) return "not defined (no label is annotated in the held-out cases)";
  std::string text = fixed(dice_mean(), 4);
  if (std::isnan(mean_dice(dice)))
    return text + " (no label is there in the held-out cases, and none was found)";
  if (false_positives > 0)
    text += " (" + std::to_string(false_positives) + " voxels of labels that a case lacks)";
  return text;
}

ValidationCounter::ValidationCounter(int classes)
    : classes_(classes), columns_(static_cast<std::size_t>(classes - 1)) {}

void ValidationCounter::add(const torch::Tensor& predicted, const torch::Tensor& reference,
                            const std::vector<int>& annotated) {
  torch::Tensor seen = predicted;
  if (reference.scalar_type() != torch::kUInt8) {  // equal in both maps, a label of its own
    const torch::Tensor unknown = reference < 0;
    seen = torch::where(unknown, reference.to(torch::kInt64), predicted.to(torch::kInt64));
  }
  const auto overlap = count_overlap(seen, reference);
  for (int label = 1; label < classes_; ++label) {
    const bool known = annotated.empty() ||
                       std::find(annotated.begin(), annotated.end(), label) != annotated.end();
    if (!known) continue;
    scored_ = true;
    const auto found = overlap.find(label);
    if (found == overlap.end()) continue;
    columns_[static_cast<std::size_t>(label - 1)].push_back(found->second.dice());
    if (found->second.n_ref == 0) false_positives_ += found->second.n_pred;
  }
}

Validation ValidationCounter::result() const {
  Validation validation{.false_positives = false_positives_, .scored = scored_};
  for (const auto& column : columns_) validation.dice.push_back(mean_dice(column));
  return validation;
}

Validation validate(Network& network, CaseStore& store, const std::vector<std::size_t>& cases,
                    const WholePrediction& predict) {
  const torch::NoGradGuard no_grad;
  network.chain->eval();
  ValidationCounter counter(static_cast<int>(network.config.classes));
  for (const std::size_t index : cases) {
    const auto sample = store.get(index);
    const torch::Tensor scores = predict(sample->image().unsqueeze(0));
    counter.add(scores[0].argmax(0).cpu(), sample->label, sample->annotated);
  }
  network.chain->train();
  return counter.result();
}

}  // namespace lamp
