// LAMP's loss written straight from its formulas with plain autograd operations: slow, and
// independent of the library's.
#pragma once

#include <torch/types.h>

#include <cstdint>
#include <vector>

namespace lamp::testing {

struct LossParts {
  torch::Tensor dice;   // [N, C]
  torch::Tensor focal;  // [N, C]
  torch::Tensor loss;   // scalar
};

// logits [N, C, D, H, W], label [N, D, H, W], flag [N, C], weight [C].
inline LossParts reference_lamp_loss(const torch::Tensor& logits, const torch::Tensor& label,
                                     const torch::Tensor& flag, const torch::Tensor& weight) {
  const torch::Tensor p = torch::softmax(logits, 1);
  const torch::Tensor y = torch::one_hot(label.to(torch::kInt64), logits.size(1))
                              .permute({0, 4, 1, 2, 3})
                              .to(logits.scalar_type());
  const std::vector<std::int64_t> volume = {2, 3, 4};
  const torch::Tensor overlap = 2 * (p * y).sum(volume) + 1e-5;
  const torch::Tensor dice = 1 - overlap / (p.sum(volume) + y.sum(volume) + 1e-5);
  const torch::Tensor focal = (-(1 - p).pow(2) * y * torch::log(p)).mean(volume);
  return {dice, focal, (dice * flag * weight).mean() + 0.5 * (focal * flag * weight).mean()};
}

}  // namespace lamp::testing
