// Plain autograd operations: only the label's probability enters TP and the focal term.
#include "lamp/objective/anatomy_loss.h"

#include <vector>

namespace lamp {
namespace {

constexpr double kAnatomySmooth = 1e-5;
constexpr double kLowestProbability = 1e-6;

// [C]: sums of `values` [1, v] over the voxels of each label.
torch::Tensor sums_by_label(const torch::Tensor& values, const torch::Tensor& labels,
                            std::int64_t classes) {
  std::vector<torch::Tensor> sums;
  for (std::int64_t c = 0; c < classes; ++c)
    sums.push_back((values * indicator(labels, c, values.scalar_type())).sum());
  return torch::stack(sums);
}

// Over all samples, each [C].
struct BatchSums {
  torch::Tensor both, predicted, labelled, penalty;

  BatchSums(std::int64_t classes, const torch::TensorOptions& options)
      : both(torch::zeros({classes}, options)), predicted(both), labelled(both), penalty(both) {}

  void add(const SeenVoxels& seen, torch::ScalarType type) {
    const std::int64_t classes = seen.logits.size(0);
    const torch::Tensor p = torch::softmax(seen.logits, 0, type);
    const torch::Tensor index = seen.labels.unsqueeze(0);  // [1, v]
    const torch::Tensor p_label = p.gather(0, index);
    both = both + sums_by_label(p_label, index, classes);
    predicted = predicted + p.sum(1);
    labelled = labelled + sums_by_label(torch::ones_like(p_label), index, classes);
    const torch::Tensor focal =
        -(1 - p_label).square() * p_label.clamp(kLowestProbability, 1).log();
    penalty = penalty + sums_by_label(focal, index, classes);
  }
  // Of the whole volumes.
  void complete(const LossInput& input) {
    const auto all =
        volume_sum(input, torch::stack({both, predicted, labelled, penalty})).unbind(0);
    both = all[0];
    predicted = all[1];
    labelled = all[2];
    penalty = all[3];
  }
};

std::int64_t seen_of_batch(const LossInput& input) {
  std::int64_t voxels = 0;
  for (std::int64_t n = 0; n < input.labels.size(0); ++n) voxels += seen_count(input, n);
  return voxels;
}

}  // namespace

AnatomyTerms anatomy_terms(const LossInput& input) {
  const auto type = compute_type(input.logits);
  BatchSums sums(input.logits.size(1), input.logits.options().dtype(type).requires_grad(false));
  for (const SeenVoxels& seen : seen_by_sample(input)) sums.add(seen, type);
  if (input.slab != nullptr) sums.complete(input);
  const torch::Tensor weights = std::get<0>(input.weights.min(0));  // [C]
  // TP + FP = sum p and TP + FN = sum y, so the denominator is half of their sum.
  const torch::Tensor overlap =
      sums.both / (0.5 * (sums.predicted + sums.labelled) + kAnatomySmooth);
  const torch::Tensor focal = sums.penalty / divisor(seen_of_batch(input));
  return {(weights * (1 - overlap)).sum(), (weights * focal).sum()};
}

torch::Tensor anatomy_loss(const LossInput& input, double focal_weight) {
  const AnatomyTerms terms = anatomy_terms(input);
  return terms.tversky + focal_weight * terms.focal;
}

}  // namespace lamp
