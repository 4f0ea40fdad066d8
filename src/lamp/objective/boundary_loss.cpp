// The distance maps carry no gradient; p is linear in the loss.
#include "lamp/objective/boundary_loss.h"

#include <vector>

#include "lamp/objective/distance_map.h"

namespace lamp {
namespace {

// [C, D, H, W] float32 on the CPU, of one sample's whole volume; zero for classes whose weight is
// zero.
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
  const torch::Tensor weights = input.weights.cpu();
  std::vector<torch::Tensor> sums, counts;  // [C] and [1] each
  for (const SeenVoxels& seen : seen_by_sample(input)) {
    const auto n = static_cast<std::int64_t>(sums.size());
    torch::Tensor maps = distances(input.volume_labels(n).cpu(), weights[n]);
    if (input.slab != nullptr)
      maps = maps.narrow(input.slab->axis, input.slab->first, input.slab->planes);
    torch::Tensor phi = maps.flatten(1).to(input.logits.device(), type);
    if (seen.places) phi = phi.index_select(1, *seen.places);
    const torch::Tensor p = torch::softmax(seen.logits, 0, type);
    sums.push_back((p * phi).sum(1));
    counts.push_back(torch::full({1}, divisor(seen_count(input, n)), phi.options()));
  }
  const torch::Tensor means = volume_sum(input, torch::stack(sums)) / torch::stack(counts);
  return (means * input.weights).mean();
}

}  // namespace lamp
