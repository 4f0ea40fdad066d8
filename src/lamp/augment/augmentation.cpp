// The parts in their order: flip, rotate90, affine and elastic as one, intensity, gamma, noise.
// Values are changed by plain loops rather than torch's element-wise kernels where those round
// differently at the end of a thread's share.
#include "lamp/augment/augmentation.h"

#include <ATen/Parallel.h>
#include <torch/types.h>
#include <torch/utils.h>

#include <algorithm>
#include <cmath>

#include "lamp/augment/deform.h"
#include "lamp/base/size3.h"
#include "lamp/dataset/sided_labels.h"

namespace lamp {
namespace {

bool happens(double probability, Random& random) { return random.uniform() < probability; }

// Calls change(values, count, slice) for every slice of a contiguous [C, D, H, W].
template <typename Change>
void for_each_slice(const torch::Tensor& image, const Change& change) {
  float* values = image.data_ptr<float>();
  const std::int64_t slices = image.size(0) * image.size(1), count = image.size(2) * image.size(3);
  at::parallel_for(0, slices, 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t slice = begin; slice < end; ++slice)
      change(values + slice * count, count, slice);
  });
}

// What no scan showed may hold values beyond those of the scan: they are clipped to them.
void apply_gamma(const torch::Tensor& image, const torch::Tensor& label, double gamma) {
  const auto seen = seen_by_scan(label);
  const torch::Tensor shown = seen ? image.masked_select(*seen) : image;
  if (shown.numel() == 0) return;
  const auto least = shown.min().item<float>();
  const float range = shown.max().item<float>() - least;
  if (!(range > 0) || !std::isfinite(range)) return;
  const auto power = static_cast<float>(gamma);
  for_each_slice(image, [&](float* values, std::int64_t count, std::int64_t) {
    for (std::int64_t i = 0; i < count; ++i) {
      const float share = std::clamp((values[i] - least) / range, 0.0F, 1.0F);
      values[i] = std::pow(share, power) * range + least;
    }
  });
}

void add_noise(const torch::Tensor& image, const NoiseConfig& config, std::uint64_t key) {
  for_each_slice(image, [&](float* values, std::int64_t count, std::int64_t slice) {
    Random random{key, static_cast<std::uint64_t>(slice)};
    const double size = config.amplitude;
    for (std::int64_t i = 0; i < count; ++i)
      values[i] += static_cast<float>(config.gaussian ? size * random.normal()
                                                      : random.uniform(-size, size));
  });
}

}  // namespace

Augmenter::Augmenter(AugmentConfig config, const std::map<int, std::string>& labels)
    : config_(std::move(config)), twins_(sided_pairs(labels)) {
  check_augment(config_, labels);
}

Patch Augmenter::augment(const Patch& patch, std::vector<int>& annotated, Random& random) const {
  TORCH_CHECK(patch.image.dim() == 4 && patch.label.dim() == 3 &&
                  patch.image.sizes().slice(1) == patch.label.sizes(),
              "a patch needs an image [C, d, h, w] and a label [d, h, w], got ",
              patch.image.sizes(), " and ", patch.label.sizes());
  TORCH_CHECK(patch.image.scalar_type() == torch::kFloat32,
              "augmentation expects float32 images, got ", patch.image.scalar_type());
  if (patch.image.numel() == 0) return patch;
  const torch::NoGradGuard no_grad;
  Patch changed = flip(patch, annotated, random);
  changed = rotate90(changed, random);
  changed = deform(changed, random);
  changed.image = change_values(changed, random);
  return changed;
}

Patch Augmenter::flip(const Patch& patch, std::vector<int>& annotated, Random& random) const {
  std::vector<std::int64_t> dims;  // counted from the end: x is -1
  for (std::size_t axis = 0; axis < 3; ++axis)
    if (config_.flip.axes[axis] && happens(config_.flip.probability, random))
      dims.push_back(-1 - static_cast<std::int64_t>(axis));
  if (dims.empty()) return patch;
  Patch mirrored{patch.image.flip(dims), patch.label.flip(dims)};
  if (dims.size() % 2 == 1) exchange_sides(mirrored, annotated);
  return mirrored;
}

void Augmenter::exchange_sides(Patch& patch, std::vector<int>& annotated) const {
  for (const auto& [left, right] : twins_) {
    const torch::Tensor was_left = patch.label == left, was_right = patch.label == right;
    patch.label.masked_fill_(was_left, right).masked_fill_(was_right, left);
    for (int& id : annotated) id = id == left ? right : id == right ? left : id;
  }
  std::sort(annotated.begin(), annotated.end());
}

Patch Augmenter::rotate90(const Patch& patch, Random& random) const {
  if (!happens(config_.rotate90.probability, random)) return patch;
  const bool square = patch.label.size(1) == patch.label.size(2);
  const std::int64_t turns = square ? 1 + random.below(3) : 2;
  return {patch.image.rot90(turns, {-2, -1}).contiguous(),
          patch.label.rot90(turns, {-2, -1}).contiguous()};
}

Patch Augmenter::deform(const Patch& patch, Random& random) const {
  // One draw for both parts: where their probabilities are equal they come together, as in the
  // paper's code.
  const double draw = random.uniform();
  const bool affine = draw < config_.affine.probability,
             elastic = draw < config_.elastic.probability;
  if (!affine && !elastic) return patch;
  const Shape3 size = last_three(patch.label.sizes());
  Deformation deformation;
  if (affine) deformation = draw_affine(config_.affine, size, random);
  if (elastic) {
    const auto& sigma_voxels = config_.elastic.sigma_voxels;
    const auto& magnitude = config_.elastic.magnitude;
    ElasticOptions options;  // filled in order: arguments of one call may be evaluated in any
    options.sigma_voxels = random.uniform(sigma_voxels[0], sigma_voxels[1]);
    options.magnitude = random.uniform(magnitude[0], magnitude[1]);
    deformation.elastic.emplace(size, options, random);
  }
  return lamp::deform(patch, deformation);
}

torch::Tensor Augmenter::change_values(const Patch& patch, Random& random) const {
  const bool intensity = happens(config_.intensity.probability, random);
  const bool gamma = happens(config_.gamma.probability, random);
  const bool noise = happens(config_.noise.probability, random);
  if (!intensity && !gamma && !noise) return patch.image;
  torch::Tensor changed = patch.image.clone(torch::MemoryFormat::Contiguous);
  if (intensity) {
    const double scale = random.uniform(-config_.intensity.scale, config_.intensity.scale);
    changed.mul_(1 + scale).add_(random.uniform(-config_.intensity.shift, config_.intensity.shift));
  }
  if (gamma) {
    const auto& [low, high] = config_.gamma.range;
    apply_gamma(changed, patch.label, random.uniform(low, high));
  }
  if (noise) add_noise(changed, config_.noise, random.bits());
  return changed;
}

}  // namespace lamp
