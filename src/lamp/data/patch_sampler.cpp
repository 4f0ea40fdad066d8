// Cutting and padding with torch; the choice of the centre with a keyed generator.
#include "lamp/data/patch_sampler.h"

#include <torch/torch.h>

#include <algorithm>
#include <numeric>
#include <utility>

namespace lamp {
namespace {

using Zyx = std::array<std::int64_t, 3>;

Zyx spatial(const torch::Tensor& label) { return {label.size(0), label.size(1), label.size(2)}; }

// Grows [.., d, h, w] to `size` at the high ends.
torch::Tensor pad_image(const torch::Tensor& image, const Zyx& size) {
  const std::int64_t z = size[0] - image.size(1), y = size[1] - image.size(2),
                     x = size[2] - image.size(3);
  if (z <= 0 && y <= 0 && x <= 0) return image;
  return torch::replication_pad3d(image.unsqueeze(0), {0, x, 0, y, 0, z}).squeeze(0);
}

torch::Tensor pad_label(const torch::Tensor& label, const Zyx& size) {
  return torch::constant_pad_nd(
      label, {0, size[2] - label.size(2), 0, size[1] - label.size(1), 0, size[0] - label.size(0)},
      0);
}

// The linear index of a foreground voxel, or -1 if the case has none.
std::int64_t draw_centre(const TrainingCase& sample, bool by_class, Random& random) {
  std::vector<std::size_t> present;
  std::int64_t total = 0;
  for (std::size_t label = 1; label < sample.foreground.size(); ++label) {
    if (sample.foreground[label].numel() == 0) continue;
    present.push_back(label);
    total += sample.voxel_counts[label];
  }
  if (present.empty()) return -1;
  std::size_t chosen = present.back();
  if (by_class) {
    chosen =
        present[static_cast<std::size_t>(random.below(static_cast<std::int64_t>(present.size())))];
  } else {
    std::int64_t nth = random.below(total);
    for (const std::size_t label : present) {
      if (nth < sample.voxel_counts[label]) {
        chosen = label;
        break;
      }
      nth -= sample.voxel_counts[label];
    }
  }
  const torch::Tensor& voxels = sample.foreground[chosen];
  return voxels.const_data_ptr<std::int64_t>()[random.below(voxels.numel())];
}

}  // namespace

std::int64_t TrainingCase::bytes() const {
  if (mapped) return 0;
  std::size_t total = stored.nbytes() + label.nbytes();
  for (const torch::Tensor& voxels : foreground) total += voxels.nbytes();
  return static_cast<std::int64_t>(total);
}

void index_foreground(TrainingCase& sample, int classes) {
  const torch::Tensor label = sample.label.to(torch::kInt16).contiguous();
  const auto* values = label.data_ptr<std::int16_t>();
  const std::int64_t count = label.numel();
  sample.voxel_counts.assign(static_cast<std::size_t>(classes), 0);
  for (std::int64_t i = 0; i < count; ++i) {
    TORCH_CHECK(values[i] >= 0 && values[i] < classes, "label ", values[i], " outside 0 ... ",
                classes - 1);
    ++sample.voxel_counts[static_cast<std::size_t>(values[i])];
  }
  std::vector<std::vector<std::int64_t>> voxels(static_cast<std::size_t>(classes));
  std::vector<std::int64_t> seen(static_cast<std::size_t>(classes), 0);
  for (std::int64_t i = 0; i < count; ++i) {
    if (values[i] == 0) continue;
    const auto c = static_cast<std::size_t>(values[i]);
    const std::int64_t step = (sample.voxel_counts[c] + kIndexedVoxels - 1) / kIndexedVoxels;
    if (seen[c]++ % step == 0) voxels[c].push_back(i);
  }
  sample.foreground.clear();
  for (const auto& indices : voxels)
    sample.foreground.push_back(torch::tensor(indices, torch::kLong));
}

Patch draw_patch(const TrainingCase& sample, const PatchOptions& options, Random& random) {
  if (!options.size) return {sample.image(), sample.label};
  const Zyx size = {(*options.size)[2], (*options.size)[1], (*options.size)[0]};
  const Zyx whole = spatial(sample.label);
  const std::int64_t centre = draw_centre(sample, options.by_class, random);
  const Zyx at = {centre / (whole[1] * whole[2]), centre / whole[2] % whole[1], centre % whole[2]};
  torch::Tensor image = sample.stored;
  torch::Tensor label = sample.label;
  for (int axis = 0; axis < 3; ++axis) {
    const std::int64_t room = std::max<std::int64_t>(whole[axis] - size[axis], 0);
    const std::int64_t start = centre < 0
                                   ? random.below(room + 1)
                                   : std::clamp<std::int64_t>(at[axis] - size[axis] / 2, 0, room);
    image = image.narrow(axis + 1, start, std::min(size[axis], whole[axis]));
    label = label.narrow(axis, start, std::min(size[axis], whole[axis]));
  }
  return {pad_image(decode_image(image, sample.code), size), pad_label(label, size)};
}

Batch collate(const std::vector<Patch>& patches, std::vector<std::vector<int>> annotated) {
  TORCH_CHECK(!patches.empty() && patches.size() == annotated.size(),
              "a batch needs one annotation entry a patch");
  Zyx size = {0, 0, 0};
  for (const Patch& patch : patches)
    for (int axis = 0; axis < 3; ++axis) size[axis] = std::max(size[axis], patch.label.size(axis));
  std::vector<torch::Tensor> images, labels;
  for (const Patch& patch : patches) {
    images.push_back(pad_image(patch.image, size));
    labels.push_back(pad_label(patch.label, size));
  }
  return {torch::stack(images), torch::stack(labels), std::move(annotated)};
}

}  // namespace lamp
