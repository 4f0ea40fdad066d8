// One gather for the label's logarithm, one for its weight.
#include "lamp/objective/cross_entropy.h"

#include <vector>

namespace lamp {

torch::Tensor cross_entropy_loss(const LossInput& input) {
  std::vector<torch::Tensor> means;
  const auto weights = input.weights.unbind(0);
  for (const SeenVoxels& seen : seen_by_sample(input)) {
    const torch::Tensor log_p = torch::log_softmax(seen.logits, 0, compute_type(input.logits));
    const torch::Tensor weight = weights[means.size()].index_select(0, seen.labels);
    const torch::Tensor log_label = log_p.gather(0, seen.labels.unsqueeze(0)).squeeze(0);
    means.push_back(-(weight * log_label).sum() / seen.count());
  }
  return torch::stack(means).mean();
}

}  // namespace lamp
