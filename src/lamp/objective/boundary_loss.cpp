// The distance maps carry no gradient; p is linear in the loss.
#include "lamp/objective/boundary_loss.h"

#include <vector>

#include "lamp/objective/distance_map.h"

namespace lamp {
namespace {

// [C, D, H, W] float32 on the CPU, of one sample; zero for classes whose weight is zero.
torch::Tensor distances(const torch::Tensor& labels, const torch::Tensor& weights) {
  const torch::Tensor seen = seen_by_scan(labels).value_or(torch::Tensor());
  std::vector<std::int64_t> shape = labels.sizes().vec();
  shape.insert(shape.begin(), weights.size(0));
  torch::Tensor maps = torch::zeros(shape, torch::kFloat32);
  for (std::int64_t c = 0; c < weights.size(0); ++c)
    if (weights[c].item<double>() > 0) maps[c].copy_(signed_distance_voxels(labels.eq(c), seen));
  return maps;
}

}  // namespace

torch::Tensor boundary_loss(const LossInput& input) {
  const auto type = compute_type(input.logits);
  const torch::Tensor labels = input.labels.cpu(), weights = input.weights.cpu();
  std::vector<torch::Tensor> means;  // [C] each
  for (const SeenVoxels& seen : seen_by_sample(input)) {
    const auto n = static_cast<std::int64_t>(means.size());
    torch::Tensor phi = distances(labels[n], weights[n]).flatten(1).to(input.logits.device(), type);
    if (seen.places) phi = phi.index_select(1, *seen.places);
    const torch::Tensor p = torch::softmax(seen.logits, 0, type);
    means.push_back((p * phi).sum(1) / seen.count());
  }
  return (torch::stack(means) * input.weights).mean();
}

}  // namespace lamp
