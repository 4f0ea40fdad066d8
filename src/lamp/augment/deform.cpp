// The sampling grid is built and used a few slices at a time: for a whole volume it would take
// three times the memory of the image.
#include "lamp/augment/deform.h"

#include <torch/types.h>
#include <torch/utils.h>

#include <algorithm>
#include <cmath>
#include <numbers>

namespace lamp {
namespace {

constexpr std::int64_t kVoxelsAtOnce = 1 << 20;
// at::grid_sampler_3d names its modes by number.
constexpr std::int64_t kLinear = 0, kNearest = 1, kZeros = 0, kBorder = 1;

Matrix3 rotation(int axis, double radians) {
  const double c = std::cos(radians), s = std::sin(radians);
  if (axis == 0) return {1, 0, 0, 0, c, -s, 0, s, c};
  if (axis == 1) return {c, 0, s, 0, 1, 0, -s, 0, c};
  return {c, -s, 0, s, c, 0, 0, 0, 1};
}

// What torch's grid holds along one axis: -1 and 1 are the outer faces of the first and last voxel,
// so the centre of the patch is 0 and one voxel is 2 / size.
torch::Tensor base_grid(const Deformation& deformation, const Size3& size_xyz, std::int64_t first,
                        std::int64_t count) {
  const auto centred = [&](int axis, std::int64_t from, std::int64_t length) {
    const double centre = static_cast<double>(size_xyz[static_cast<std::size_t>(axis)] - 1) / 2;
    return torch::arange(length, torch::kFloat64).add_(static_cast<double>(from) - centre);
  };
  const torch::Tensor x = centred(0, 0, size_xyz[0]), y = centred(1, 0, size_xyz[1]),
                      z = centred(2, first, count);
  torch::Tensor grid = torch::empty({3, count, size_xyz[1], size_xyz[0]}, torch::kFloat32);
  for (std::size_t a = 0; a < 3; ++a) {
    const double voxel = 2.0 / static_cast<double>(size_xyz[a]);
    const double* row = deformation.linear.data() + 3 * a;
    const auto part = [&](const torch::Tensor& p, double factor) {
      return (p * (factor * voxel)).to(torch::kFloat32);
    };
    torch::Tensor yz =
        part(z, row[2]).view({count, 1}) +
        (part(y, row[1]) + static_cast<float>(deformation.shift[a] * voxel)).view({1, size_xyz[1]});
    torch::Tensor out = grid[static_cast<std::int64_t>(a)];
    torch::add_out(out, yz.unsqueeze(2), part(x, row[0]).view({1, 1, size_xyz[0]}));
  }
  return grid;
}

// Every slice is a sample of torch's batch, which is what its kernel shares out among threads.
torch::Tensor sample(const torch::Tensor& image, const torch::Tensor& grid, std::int64_t mode,
                     std::int64_t padding) {
  const std::int64_t slices = grid.size(0);
  const torch::Tensor input = image.unsqueeze(0).expand({slices, -1, -1, -1, -1});
  return at::grid_sampler_3d(input, grid, mode, padding, /*align_corners=*/false)
      .squeeze(2)
      .transpose(0, 1);
}

}  // namespace

Deformation draw_affine(const AffineConfig& config, const Shape3& size, Random& random) {
  const auto draw = [&](double limit) { return random.uniform(-limit, limit); };
  const double radian = std::numbers::pi / 180;
  Matrix3 turned = {1, 0, 0, 0, 1, 0, 0, 0, 1};
  for (int axis = 0; axis < 3; ++axis)
    turned = product(turned, rotation(axis, draw(config.rotation_degrees * radian)));
  Matrix3 shear = {1, 0, 0, 0, 1, 0, 0, 0, 1};
  for (const std::size_t place : {1, 2, 3, 5, 6, 7})
    shear[place] = std::tan(draw(config.shear_degrees * radian));
  const Matrix3 oblique = product(turned, shear);
  Vector3 shift{};
  Matrix3 scale{};
  for (std::size_t a = 0; a < 3; ++a) {
    shift[a] = draw(config.translation) * static_cast<double>(size.xyz()[a]);
    scale[4 * a] = 1 + draw(config.scale);
  }
  return {.linear = product(oblique, scale), .shift = product(oblique, shift)};
}

Patch deform(const Patch& patch, const Deformation& deformation) {
  const torch::NoGradGuard no_grad;
  const std::int64_t depth = patch.label.size(0), height = patch.label.size(1),
                     width = patch.label.size(2);
  if (patch.label.numel() == 0) return patch;
  const Size3 size_xyz = last_three(patch.label.sizes()).xyz();
  std::optional<ElasticField> elastic;
  if (deformation.elastic) {
    Matrix3 to_grid = deformation.linear;
    for (std::size_t place = 0; place < 9; ++place)
      to_grid[place] *= 2.0 / static_cast<double>(size_xyz[place / 3]);
    elastic = deformation.elastic->transformed(to_grid);
  }
  // Counted from kNoScan, so that torch's zeros stand for it. Exact: labels are below 2^24.
  const torch::Tensor label = (patch.label.to(torch::kFloat32) - kNoScan).unsqueeze(0);
  Patch out{torch::empty(patch.image.sizes(), patch.image.options()),
            torch::empty(patch.label.sizes(), patch.label.options())};
  torch::Tensor beyond = torch::empty(patch.label.sizes(), torch::kBool);
  const std::int64_t at_once = std::clamp<std::int64_t>(kVoxelsAtOnce / (height * width), 1, depth);
  for (std::int64_t first = 0; first < depth; first += at_once) {
    const std::int64_t count = std::min(at_once, depth - first);
    torch::Tensor grid = base_grid(deformation, size_xyz, first, count);
    if (elastic) grid.add_(elastic->slices(first, count));
    grid = grid.permute({1, 2, 3, 0}).unsqueeze(1);  // [slices, 1, h, w, 3]
    out.image.narrow(1, first, count).copy_(sample(patch.image, grid, kLinear, kBorder));
    const torch::Tensor moved = sample(label, grid, kNearest, kZeros).squeeze(0) + kNoScan;
    beyond.narrow(0, first, count).copy_(moved.eq(kNoScan));
    out.label.narrow(0, first, count).copy_(moved.clamp_min(0));
  }
  out.label = mark_no_scan(out.label, beyond);
  return out;
}

}  // namespace lamp
