// Aligned grids by three one-dimensional passes; others through torch's grid_sample.
#include "lamp/volume/grid_sampler.h"

#include <ATen/Parallel.h>
#include <torch/nn/functional.h>

#include <algorithm>
#include <cmath>

namespace lamp {
namespace {

// Positions this near to a voxel's centre are the voxel: rounding must not blend in its neighbour.
constexpr double kSnap = 1e-6;
// Grids are aligned if no axis strays further than this from the other's, in voxels.
constexpr double kStray = 1e-4;

double clamped_position(double position, std::int64_t size) {
  const double nearest = std::round(position);
  if (std::abs(position - nearest) < kSnap) position = nearest;
  return std::clamp(position, 0.0, static_cast<double>(size - 1));
}

std::int64_t low_of(double position) { return static_cast<std::int64_t>(std::floor(position)); }
std::int64_t high_of(double position) { return static_cast<std::int64_t>(std::ceil(position)); }

// Source voxels and weights for a run of positions: tap k of position i is voxel index[taps * i +
// k].
struct Taps {
  std::int64_t taps = 2;
  std::vector<std::int64_t> index;
  std::vector<float> weight;
};

// Catmull and Rom's spline (1974), the cubic of Keys (1981) with a = -1/2.
std::array<double, 4> cubic_weights(double t) {
  return {((-0.5 * t + 1) * t - 0.5) * t, (1.5 * t - 2.5) * t * t + 1,
          ((-1.5 * t + 2) * t + 0.5) * t, (0.5 * t - 0.5) * t * t};
}

// Indices count from voxel `first` of the source.
Taps make_taps(const double* positions, std::int64_t count, std::int64_t size, std::int64_t first,
               bool cubic) {
  Taps result{.taps = cubic ? 4 : 2};
  for (std::int64_t i = 0; i < count; ++i) {
    const std::int64_t low = low_of(positions[i]);
    const double t = positions[i] - static_cast<double>(low);
    const auto weights = cubic ? cubic_weights(t) : std::array<double, 4>{1 - t, t, 0, 0};
    for (std::int64_t k = 0; k < result.taps; ++k) {
      // Without a second voxel to blend in, the first one stands in with weight 0.
      const std::int64_t voxel = cubic ? low + k - 1 : k == 0 ? low : high_of(positions[i]);
      result.index.push_back(std::clamp<std::int64_t>(voxel, 0, size - 1) - first);
      result.weight.push_back(static_cast<float>(weights[static_cast<std::size_t>(k)]));
    }
  }
  return result;
}

bool is_identity(const double* positions, std::int64_t count, std::int64_t first) {
  for (std::int64_t i = 0; i < count; ++i)
    if (positions[i] != static_cast<double>(first + i)) return false;
  return true;
}

// out = sum of weight * in[index] for position `i`; each in[index] is `width` neighbours in memory.
void blend_rows(const float* in, float* out, std::int64_t width, const Taps& taps, std::int64_t i) {
  for (std::int64_t k = 0; k < taps.taps; ++k) {
    const float weight = taps.weight[taps.taps * i + k];
    const float* row = in + taps.index[taps.taps * i + k] * width;
    if (k == 0) {
#pragma omp simd
      for (std::int64_t x = 0; x < width; ++x) out[x] = weight * row[x];
    } else if (weight != 0) {
#pragma omp simd
      for (std::int64_t x = 0; x < width; ++x) out[x] += weight * row[x];
    }
  }
}

// The same for all positions where the axis itself is the one of neighbours.
void blend_values(const float* in, float* out, const Taps& taps, std::int64_t count) {
  for (std::int64_t i = 0; i < count; ++i) {
    float sum = 0;
    for (std::int64_t k = 0; k < taps.taps; ++k)
      sum += taps.weight[taps.taps * i + k] * in[taps.index[taps.taps * i + k]];
    out[i] = sum;
  }
}

// [D, H, W] float32, contiguous. Plain loops: torch's index_select walks the whole volume once for
// every x.
torch::Tensor along_axis(const torch::Tensor& data, std::int64_t dim, const Taps& taps) {
  std::vector<std::int64_t> shape = data.sizes().vec();
  const std::int64_t length = shape[dim];
  const std::int64_t count = static_cast<std::int64_t>(taps.index.size()) / taps.taps;
  const std::int64_t width = dim == 2 ? 1 : dim == 1 ? shape[2] : shape[1] * shape[2];
  const std::int64_t outer = data.numel() / (length * width);
  shape[dim] = count;
  torch::Tensor result = torch::empty(shape, torch::kFloat32);
  const float* in = data.data_ptr<float>();
  float* out = result.data_ptr<float>();
  if (dim == 2) {
    at::parallel_for(0, outer, 64, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t o = begin; o < end; ++o)
        blend_values(in + o * length, out + o * count, taps, count);
    });
    return result;
  }
  at::parallel_for(0, outer * count, 1 + 65536 / width, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t r = begin; r < end; ++r)
      blend_rows(in + r / count * length * width, out + r * width, width, taps, r % count);
  });
  return result;
}

torch::Tensor on_cpu(const torch::Tensor& values) {
  return values.to(torch::TensorOptions(torch::kCPU).dtype(torch::kFloat32));
}

torch::Tensor crop_of(const torch::Tensor& values, const Box& box) {
  return values.slice(0, box.begin[2], box.end[2])
      .slice(1, box.begin[1], box.end[1])
      .slice(2, box.begin[0], box.end[0]);
}

// Along x, y, z, shaped to be added up over [d, h, w].
std::array<torch::Tensor, 3> indices_of(const Box& box) {
  std::array<torch::Tensor, 3> index;
  for (int c = 0; c < 3; ++c) {
    std::vector<std::int64_t> shape(3, 1);
    shape[static_cast<std::size_t>(2 - c)] = -1;
    index[c] = torch::arange(box.begin[c], box.end[c], torch::kFloat64).view(shape);
  }
  return index;
}

}  // namespace

GridSampler::GridSampler(const Geometry& from, const Geometry& to)
    : from_size_(from.size), to_size_(to.size) {
  const Matrix3 to_axes = inverted(from.direction);
  matrix_ = product(to_axes, to.direction);
  offset_ = product(
      to_axes, Vector3{to.origin_mm[0] - from.origin_mm[0], to.origin_mm[1] - from.origin_mm[1],
                       to.origin_mm[2] - from.origin_mm[2]});
  double stray = 0;
  for (int r = 0; r < 3; ++r) {
    offset_[r] /= from.spacing_mm[r];
    for (int c = 0; c < 3; ++c) {
      double& step = matrix_[3 * r + c];
      step *= to.spacing_mm[c] / from.spacing_mm[r];
      if (r != c) stray = std::max(stray, std::abs(step) * static_cast<double>(to.size[c]));
    }
  }
  aligned_ = stray < kStray;
  if (!aligned_) return;
  for (int a = 0; a < 3; ++a) {
    positions_[a].resize(static_cast<std::size_t>(to.size[a]));
    for (std::int64_t i = 0; i < to.size[a]; ++i)
      positions_[a][i] =
          clamped_position(matrix_[4 * a] * static_cast<double>(i) + offset_[a], from.size[a]);
  }
}

std::vector<Box> GridSampler::slabs(std::int64_t voxels) const {
  const std::int64_t depth = std::max<std::int64_t>(1, voxels / (to_size_[0] * to_size_[1]));
  std::vector<Box> result;
  for (std::int64_t z = 0; z < to_size_[2]; z += depth) {
    result.push_back(
        {.begin = {0, 0, z}, .end = {to_size_[0], to_size_[1], std::min(z + depth, to_size_[2])}});
  }
  return result;
}

Box GridSampler::needed(const Box& box, bool cubic) const {
  Box source;
  for (int a = 0; a < 3; ++a) {
    // Positions rise or fall throughout.
    const double one = positions_[a][box.begin[a]], other = positions_[a][box.end[a] - 1];
    const std::int64_t margin = cubic ? 1 : 0;
    source.begin[a] = std::max<std::int64_t>(0, low_of(std::min(one, other)) - margin);
    source.end[a] = std::min(from_size_[a], high_of(std::max(one, other)) + margin + 1);
    if (cubic) source.end[a] = std::min(from_size_[a], source.end[a] + 1);
  }
  return source;
}

Box GridSampler::reached(const Box& box, const Box& source) const {
  if (!aligned_) return box;
  Box result = box;
  for (int a = 0; a < 3; ++a) {
    const auto& positions = positions_[a];
    const auto outside = [&](std::int64_t i) {
      return positions[i] <= static_cast<double>(source.begin[a] - 1) ||
             positions[i] >= static_cast<double>(source.end[a]);
    };
    while (result.begin[a] < result.end[a] && outside(result.begin[a])) ++result.begin[a];
    while (result.begin[a] < result.end[a] && outside(result.end[a] - 1)) --result.end[a];
  }
  return result;
}

torch::Tensor GridSampler::along_axes(torch::Tensor crop, const Box& source, const Box& box,
                                      bool cubic) const {
  std::array<int, 3> order = {2, 1, 0};
  const auto growth = [&](int a) {
    return static_cast<double>(box.end[a] - box.begin[a]) /
           static_cast<double>(source.end[a] - source.begin[a]);
  };
  // Shrinking axes first: the later passes then have less to do.
  std::stable_sort(order.begin(), order.end(), [&](int a, int b) { return growth(a) < growth(b); });
  for (const int a : order) {
    const double* positions = positions_[a].data() + box.begin[a];
    const std::int64_t count = box.end[a] - box.begin[a];
    if (is_identity(positions, count, source.begin[a])) {
      crop = crop.slice(2 - a, 0, count);
      continue;
    }
    crop = along_axis(crop.contiguous(), 2 - a,
                      make_taps(positions, count, from_size_[a], source.begin[a], cubic));
  }
  return crop;
}

torch::Tensor GridSampler::beyond(const Box& box) const {
  const auto index = indices_of(box);
  torch::Tensor outside;
  for (int r = 0; r < 3; ++r) {
    const double last = static_cast<double>(from_size_[r]) - 0.5 + kStray;
    const torch::Tensor position = index[2] * matrix_[3 * r + 2] + index[1] * matrix_[3 * r + 1] +
                                   index[0] * matrix_[3 * r] + offset_[r];
    const torch::Tensor here = position.lt(-0.5 - kStray).logical_or_(position.gt(last));
    outside = outside.defined() ? outside.logical_or_(here) : here;
  }
  return outside;
}

// The corners decide: what lies between points of a box lies in the box.
bool GridSampler::covered() const {
  for (int corner = 0; corner < 8; ++corner) {
    Box voxel;
    for (int a = 0; a < 3; ++a) {
      voxel.begin[a] = (corner >> a & 1) != 0 ? to_size_[a] - 1 : 0;
      voxel.end[a] = voxel.begin[a] + 1;
    }
    if (beyond(voxel).item<bool>()) return false;
  }
  return true;
}

// grid_sample's coordinates run from -1 to 1 between the outer edges of the volume.
torch::Tensor GridSampler::through_points(const torch::Tensor& values, const Box& box) const {
  const auto index = indices_of(box);
  std::vector<torch::Tensor> coordinates;
  for (int r = 0; r < 3; ++r) {
    const double scale = 2.0 / static_cast<double>(from_size_[r]);
    const double start = (offset_[r] + 0.5) * scale - 1;
    const torch::Tensor position = index[2] * (matrix_[3 * r + 2] * scale) +
                                   index[1] * (matrix_[3 * r + 1] * scale) +
                                   index[0] * (matrix_[3 * r] * scale) + start;
    coordinates.push_back(position.to(torch::kFloat32));
  }
  namespace F = torch::nn::functional;
  return F::grid_sample(values.unsqueeze(0).unsqueeze(0),
                        torch::stack(coordinates, -1).unsqueeze(0),
                        F::GridSampleFuncOptions()
                            .mode(torch::kBilinear)
                            .padding_mode(torch::kBorder)
                            .align_corners(false))
      .squeeze(0)
      .squeeze(0);
}

torch::Tensor GridSampler::sample(const torch::Tensor& values, const Box& box, bool cubic) const {
  if (!aligned_) return through_points(on_cpu(values), box);
  const Box source = needed(box, cubic);
  return along_axes(on_cpu(crop_of(values, source)), source, box, cubic);
}

torch::Tensor GridSampler::sample_mask(const torch::Tensor& labels, std::int64_t label,
                                       const Box& box) const {
  if (!aligned_) return through_points(on_cpu(labels.eq(label)), box);
  const Box source = needed(box, false);
  return along_axes(on_cpu(crop_of(labels, source).eq(label)), source, box, false);
}

}  // namespace lamp
