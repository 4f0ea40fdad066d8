// The distance maps carry no gradient; p is linear in the loss.
#include "lamp/objective/boundary_loss.h"

#include <torch/torch.h>

#include <vector>

#include "lamp/objective/distance_map.h"

namespace lamp {
namespace {

// [N, C, D, H, W] on the logits' device; zero for classes whose weight is zero.
torch::Tensor distances(const LossInput& input) {
  const torch::NoGradGuard no_grad;
  const torch::Tensor labels = input.labels.cpu(), weights = input.weights.cpu();
  torch::Tensor maps = torch::zeros(input.logits.sizes(), torch::kFloat32);
  for (std::int64_t n = 0; n < maps.size(0); ++n)
    for (std::int64_t c = 0; c < maps.size(1); ++c)
      if (weights[n][c].item<double>() > 0)
        maps[n][c].copy_(signed_distance_voxels(labels[n].eq(c)));
  return maps.to(input.logits.device(), compute_type(input.logits));
}

}  // namespace

torch::Tensor boundary_loss(const LossInput& input) {
  const torch::Tensor p = torch::softmax(input.logits, 1, compute_type(input.logits));
  return ((p * distances(input)).mean(at::IntArrayRef{2, 3, 4}) * input.weights).mean();
}

}  // namespace lamp
