// Plain autograd operations: only the label's probability enters TP and the focal term.
#include "lamp/objective/anatomy_loss.h"

#include <torch/torch.h>

#include <vector>

namespace lamp {
namespace {

constexpr double kSmooth = 1e-5;
constexpr double kLowestProbability = 1e-6;

// [C]: sums of `values` [N, 1, V] over the voxels of each label.
torch::Tensor sums_by_label(const torch::Tensor& values, const torch::Tensor& labels,
                            std::int64_t classes) {
  std::vector<torch::Tensor> sums;
  for (std::int64_t c = 0; c < classes; ++c)
    sums.push_back((values * indicator(labels, c, values.scalar_type())).sum());
  return torch::stack(sums);
}

}  // namespace

AnatomyTerms anatomy_terms(const LossInput& input) {
  const std::int64_t classes = input.logits.size(1);
  const torch::Tensor p = torch::softmax(input.logits.flatten(2), 1, compute_type(input.logits));
  const torch::Tensor index = input.labels.flatten(1).unsqueeze(1).to(torch::kInt64);  // [N, 1, V]
  const torch::Tensor p_label = p.gather(1, index);
  const torch::Tensor weights = std::get<0>(input.weights.min(0));  // [C]

  const torch::Tensor both = sums_by_label(p_label, index, classes);
  const torch::Tensor labelled = sums_by_label(torch::ones_like(p_label), index, classes);
  // TP + FP = sum p and TP + FN = sum y, so the denominator is half of their sum.
  const torch::Tensor overlap = both / (0.5 * (p.sum(at::IntArrayRef{0, 2}) + labelled) + kSmooth);
  const torch::Tensor penalty =
      -(1 - p_label).square() * p_label.clamp(kLowestProbability, 1).log();
  const torch::Tensor focal =
      sums_by_label(penalty, index, classes) / static_cast<double>(input.labels.numel());
  return {(weights * (1 - overlap)).sum(), (weights * focal).sum()};
}

torch::Tensor anatomy_loss(const LossInput& input, double focal_weight) {
  const AnatomyTerms terms = anatomy_terms(input);
  return terms.tversky + focal_weight * terms.focal;
}

}  // namespace lamp
