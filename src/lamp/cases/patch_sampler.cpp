// Cutting with torch; the choice of the centre with a keyed generator.
#include "lamp/cases/patch_sampler.h"

#include <algorithm>
#include <utility>

namespace lamp {
namespace {

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

// The linear index of any voxel that the scan showed; -1 if that is all of them, or none.
std::int64_t draw_seen(const torch::Tensor& label, Random& random) {
  const auto seen = seen_by_scan(label);
  const std::int64_t count = seen ? seen->sum().item<std::int64_t>() : 0;
  if (count == 0) return -1;
  return seen->flatten().nonzero()[random.below(count)].item<std::int64_t>();
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
    if (values[i] == kNoScan) continue;
    TORCH_CHECK(values[i] >= 0 && values[i] < classes, "label ", values[i], " outside 0 ... ",
                classes - 1);
    ++sample.voxel_counts[static_cast<std::size_t>(values[i])];
  }
  std::vector<std::vector<std::int64_t>> voxels(static_cast<std::size_t>(classes));
  std::vector<std::int64_t> seen(static_cast<std::size_t>(classes), 0);
  for (std::int64_t i = 0; i < count; ++i) {
    if (values[i] == 0 || values[i] == kNoScan) continue;
    const auto c = static_cast<std::size_t>(values[i]);
    const std::int64_t step = (sample.voxel_counts[c] + kIndexedVoxels - 1) / kIndexedVoxels;
    if (seen[c]++ % step == 0) voxels[c].push_back(i);
  }
  sample.foreground.clear();
  for (const auto& indices : voxels)
    sample.foreground.push_back(torch::tensor(indices, torch::kLong));
}

Patch cut_patch(const TrainingCase& sample, const PatchOptions& options, Random& random) {
  if (!options.size) return {sample.image(), sample.label};
  const Shape3 size = options.size->dhw(), whole = last_three(sample.label.sizes());
  std::int64_t centre = draw_centre(sample, options.by_class, random);
  if (centre < 0) centre = draw_seen(sample.label, random);
  const Shape3 at = {centre / (whole[1] * whole[2]), centre / whole[2] % whole[1],
                     centre % whole[2]};
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
  return {decode_image(image, sample.code), label};
}

Patch fill_patch(const Patch& patch, const Shape3& size) {
  return {extend_scan(patch.image, size), extend_labels(patch.label, size)};
}

Patch draw_patch(const TrainingCase& sample, const PatchOptions& options, Random& random) {
  const Patch patch = cut_patch(sample, options, random);
  return options.size ? fill_patch(patch, options.size->dhw()) : patch;
}

Batch collate(const std::vector<Patch>& patches, std::vector<std::vector<int>> annotated) {
  TORCH_CHECK(!patches.empty() && patches.size() == annotated.size(),
              "a batch needs one annotation entry a patch");
  Shape3 size = {0, 0, 0};
  for (const Patch& patch : patches)
    for (int axis = 0; axis < 3; ++axis) size[axis] = std::max(size[axis], patch.label.size(axis));
  std::vector<torch::Tensor> images, labels;
  torch::ScalarType type = patches.front().label.scalar_type();
  for (const Patch& patch : patches) {
    const Patch filled = fill_patch(patch, size);
    images.push_back(filled.image);
    labels.push_back(filled.label);
    type = at::promote_types(type, filled.label.scalar_type());
  }
  for (torch::Tensor& label : labels) label = label.to(type);
  return {torch::stack(images), torch::stack(labels), std::move(annotated)};
}

}  // namespace lamp
