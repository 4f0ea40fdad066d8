// One gather for the label's logarithm, one for its weight.
#include "lamp/objective/cross_entropy.h"

#include <torch/torch.h>

namespace lamp {

torch::Tensor cross_entropy_loss(const LossInput& input) {
  const torch::Tensor index = input.labels.flatten(1).unsqueeze(1).to(torch::kInt64);  // [N, 1, V]
  const torch::Tensor log_p =
      torch::log_softmax(input.logits.flatten(2), 1, compute_type(input.logits));
  const torch::Tensor weight = input.weights.gather(1, index.squeeze(1)).unsqueeze(1);
  return -(weight * log_p.gather(1, index)).mean();
}

}  // namespace lamp
