// Labels and outputs of the same voxels.
#include "lamp/execution/batch_loss.h"

namespace lamp {

torch::Tensor batch_loss(const Network& network, const Loss& loss, const StepBatch& batch,
                         const torch::Tensor& output, const BatchPart& part) {
  const torch::Tensor labels = batch.label.narrow(0, part.first, part.count).to(output.device());
  const torch::Tensor flags = batch.flags.narrow(0, part.first, part.count).to(output.device());
  if (part.slabs == nullptr) return loss(network.crop(output, batch.image), labels, flags);
  SlabGroup& slabs = *part.slabs;
  const std::int64_t axis = slabs.axis();
  const PlaneRange owned = slabs.owned(slabs.cut().boundaries.back());
  const PlaneRange seen = common(owned, {0, batch.image.size(axis)});
  const LossSlab slab{.sum = [&](const torch::Tensor& sums) { return sum_over_slabs(slabs, sums); },
                      .labels = labels,
                      .axis = static_cast<int>(axis - 1),
                      .first = std::min(seen.first, batch.image.size(axis)),
                      .planes = seen.count()};
  return loss(network.crop_slab(output, batch.image, axis, owned),
              labels.narrow(slab.axis, slab.first, slab.planes), flags, &slab);
}

}  // namespace lamp
