// One gather for the label's logarithm, one for its weight.
#include "lamp/objective/cross_entropy.h"

#include <vector>

namespace lamp {

torch::Tensor cross_entropy_loss(const LossInput& input) {
  std::vector<torch::Tensor> sums;
  std::vector<double> counts;
  const auto weights = input.weights.unbind(0);
  for (const SeenVoxels& seen : seen_by_sample(input)) {
    const torch::Tensor log_p = torch::log_softmax(seen.logits, 0, compute_type(input.logits));
    const torch::Tensor weight = weights[sums.size()].index_select(0, seen.labels);
    const torch::Tensor log_label = log_p.gather(0, seen.labels.unsqueeze(0)).squeeze(0);
    counts.push_back(divisor(seen_count(input, static_cast<std::int64_t>(sums.size()))));
    sums.push_back(-(weight * log_label).sum());
  }
  const torch::Tensor all = volume_sum(input, torch::stack(sums));
  return (all / torch::tensor(counts, all.options().requires_grad(false))).mean();
}

}  // namespace lamp
