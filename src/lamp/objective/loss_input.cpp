// One gather where there is something to leave out, and nothing at all where there is not.
#include "lamp/objective/loss_input.h"

#include <torch/autograd.h>

namespace lamp {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

struct VolumeSum : torch::autograd::Function<VolumeSum> {
  static torch::Tensor forward(AutogradContext*, const torch::Tensor& part, const LossSlab* slab) {
    return slab->sum(part);
  }
  static variable_list backward(AutogradContext*, const variable_list& outputs) {
    return {outputs[0], torch::Tensor()};
  }
};

}  // namespace

torch::Tensor volume_sum(const LossInput& input, const torch::Tensor& part) {
  return input.slab == nullptr ? part : VolumeSum::apply(part, input.slab);
}

std::int64_t seen_count(const LossInput& input, std::int64_t sample) {
  const torch::Tensor labels = input.volume_labels(sample);
  const auto seen = seen_by_scan(labels);
  return seen ? seen->sum().item<std::int64_t>() : labels.numel();
}

void check_loss_input(const torch::Tensor& logits, const torch::Tensor& labels,
                      const LossSlab* slab) {
  TORCH_CHECK(logits.dim() == 5 && labels.dim() == 4 && logits.size(0) == labels.size(0) &&
                  logits.sizes().slice(2) == labels.sizes().slice(1),
              "loss: expected logits [N, C, D, H, W] and labels [N, D, H, W], got ", logits.sizes(),
              " and ", labels.sizes());
  TORCH_CHECK(at::isIntegralType(labels.scalar_type(), false), "loss: labels of type ",
              labels.scalar_type());
  if (slab != nullptr && labels.numel() == 0) return;
  TORCH_CHECK(labels.numel() > 0, "loss: no voxels");
  const auto [low, high] = torch::aminmax(labels);
  const auto lowest = low.item<std::int64_t>(), highest = high.item<std::int64_t>();
  TORCH_CHECK(lowest >= kNoScan && highest < logits.size(1), "loss: found label values from ",
              lowest, " to ", highest, ", expected 0 to ", logits.size(1) - 1, ", or ", kNoScan,
              " where no scan was");
}

SeenVoxels seen_voxels(const torch::Tensor& logits, const torch::Tensor& labels) {
  const auto seen = seen_by_scan(labels);
  if (!seen) return {logits, labels.to(torch::kInt64), std::nullopt};
  const torch::Tensor places = seen->nonzero().squeeze(1);
  return {logits.index_select(1, places), labels.index_select(0, places).to(torch::kInt64), places};
}

std::vector<SeenVoxels> seen_by_sample(const LossInput& input) {
  // unbind, whose gradient is one stack; that of indexing is a volume of zeros a sample.
  const auto logits = input.logits.flatten(2).unbind(0), labels = input.labels.flatten(1).unbind(0);
  std::vector<SeenVoxels> samples;
  for (std::size_t n = 0; n < logits.size(); ++n)
    samples.push_back(seen_voxels(logits[n], labels[n]));
  return samples;
}

}  // namespace lamp
