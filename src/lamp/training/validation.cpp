// Whole-volume inference without gradients, one case after another.
#include "lamp/training/validation.h"

#include <torch/types.h>
#include <torch/utils.h>

#include <algorithm>
#include <cmath>

#include "lamp/base/text.h"
#include "lamp/objective/overlap.h"
#include "lamp/training/run_log.h"

namespace lamp {

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
  torch::Tensor found_labels = predicted;
  if (const auto seen = seen_by_scan(reference))  // else equal in both maps, a label of its own
    found_labels = predicted.to(torch::kInt64).masked_fill(seen->logical_not(), kNoScan);
  const auto overlap = count_overlap(found_labels, reference);
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
