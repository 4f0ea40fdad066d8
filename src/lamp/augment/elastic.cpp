// Control points to voxels, one axis after another.
#include "lamp/augment/elastic.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <cmath>
#include <numbers>

namespace lamp {
namespace {

// Then the deviation of a displacement is that of the original to 0.02 % inside the volume, and to
// 2 % at its corners.
constexpr double kPointsPerSigma = 2;
constexpr double kKernelReach = 3;  // sigmas; where the original cuts its kernel, too
constexpr std::int64_t kTile = 32;  // floats summed in registers

// out = sum over k of weights[k] * rows[k * stride ...], `length` values. Written for the compiler
// to vectorise.
void weighted_sum(const float* rows, std::int64_t stride, const float* weights, std::int64_t terms,
                  std::int64_t length, float* out) {
  std::int64_t at = 0;
  for (; at + kTile <= length; at += kTile) {
    float sum[kTile] = {};
    for (std::int64_t k = 0; k < terms; ++k) {
      const float* row = rows + k * stride + at;
      for (std::int64_t i = 0; i < kTile; ++i) sum[i] += weights[k] * row[i];
    }
    std::copy(sum, sum + kTile, out + at);
  }
  for (; at < length; ++at) {
    float sum = 0;
    for (std::int64_t k = 0; k < terms; ++k) sum += weights[k] * rows[k * stride + at];
    out[at] = sum;
  }
}

}  // namespace

ElasticField::Axis ElasticField::make_axis(std::int64_t voxels, double sigma) {
  Axis axis;
  const double wanted = std::ceil(static_cast<double>(voxels) * kPointsPerSigma / sigma);
  axis.points = std::clamp<std::int64_t>(static_cast<std::int64_t>(wanted), 1, voxels);
  const double block = static_cast<double>(voxels) / static_cast<double>(axis.points);
  const double half = kKernelReach * sigma;
  axis.reach = std::min<std::int64_t>(axis.points, static_cast<std::int64_t>(2 * half / block) + 2);
  axis.weights.resize(static_cast<std::size_t>(voxels * axis.reach));
  for (std::int64_t v = 0; v < voxels; ++v) {
    const auto lowest =
        static_cast<std::int64_t>(std::floor((static_cast<double>(v) + 0.5 - half) / block));
    axis.first.push_back(std::clamp<std::int64_t>(lowest, 0, axis.points - axis.reach));
    for (std::int64_t k = 0; k < axis.reach; ++k) {
      const double centre = (static_cast<double>(axis.first.back() + k) + 0.5) * block - 0.5;
      const double distance = (static_cast<double>(v) - centre) / sigma;
      // The sum of `block` noises has sqrt(block) times the deviation of one.
      const double weight = std::abs(distance) > kKernelReach
                                ? 0
                                : std::sqrt(block) * std::exp(-distance * distance / 2) /
                                      (std::sqrt(2 * std::numbers::pi) * sigma);
      axis.weights[static_cast<std::size_t>(v * axis.reach + k)] = static_cast<float>(weight);
    }
  }
  return axis;
}

ElasticField::ElasticField(const Shape3& size, const ElasticOptions& options, Random& random)
    : size_(size) {
  TORCH_CHECK(size[0] > 0 && size[1] > 0 && size[2] > 0, "an elastic field of an empty volume");
  TORCH_CHECK(options.sigma_voxels >= 1, "elastic sigma ", options.sigma_voxels,
              ", expected 1 voxel or more");
  z_ = make_axis(size[0], options.sigma_voxels);
  const Axis y = make_axis(size[1], options.sigma_voxels);
  const Axis x = make_axis(size[2], options.sigma_voxels);
  std::vector<float> noise(static_cast<std::size_t>(3 * z_.points * y.points * x.points));
  for (float& value : noise) value = static_cast<float>(random.uniform(-1, 1) * options.magnitude);

  planes_ = torch::empty({3, z_.points, size[1], size[2]}, torch::kFloat32);
  float* planes = planes_.data_ptr<float>();
  const std::int64_t width = size[2], plane = size[1] * size[2];
  at::parallel_for(0, 3 * z_.points, 1, [&](std::int64_t begin, std::int64_t end) {
    std::vector<float> rows(static_cast<std::size_t>(y.points * width));
    for (std::int64_t p = begin; p < end; ++p) {
      const float* points = noise.data() + p * y.points * x.points;
      for (std::int64_t j = 0; j < y.points; ++j)
        for (std::int64_t v = 0; v < width; ++v)
          weighted_sum(points + j * x.points + x.first[static_cast<std::size_t>(v)], 1,
                       x.weights.data() + v * x.reach, x.reach, 1, rows.data() + j * width + v);
      for (std::int64_t v = 0; v < size[1]; ++v)
        weighted_sum(rows.data() + y.first[static_cast<std::size_t>(v)] * width, width,
                     y.weights.data() + v * y.reach, y.reach, width,
                     planes + p * plane + v * width);
    }
  });
}

ElasticField ElasticField::transformed(const Matrix3& matrix) const {
  ElasticField result = *this;
  result.planes_ = torch::empty_like(planes_);
  const float* from = planes_.data_ptr<float>();
  float* to = result.planes_.data_ptr<float>();
  const std::int64_t count = planes_.numel() / 3;
  at::parallel_for(0, count, 1 << 14, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      for (std::int64_t a = 0; a < 3; ++a) {
        const double* row = matrix.data() + 3 * a;
        to[a * count + i] = static_cast<float>(row[0] * from[i] + row[1] * from[count + i] +
                                               row[2] * from[2 * count + i]);
      }
    }
  });
  return result;
}

torch::Tensor ElasticField::slices(std::int64_t first, std::int64_t count) const {
  TORCH_CHECK(first >= 0 && count >= 0 && first + count <= size_[0], "slices ", first, " ... ",
              first + count, " of an elastic field of ", size_[0]);
  const torch::Tensor out = torch::empty({3, count, size_[1], size_[2]}, torch::kFloat32);
  float* values = out.data_ptr<float>();
  const float* planes = planes_.data_ptr<float>();
  const std::int64_t plane = size_[1] * size_[2];
  at::parallel_for(0, 3 * count, 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      const std::int64_t z = first + i % count;
      const float* points =
          planes + (i / count * z_.points + z_.first[static_cast<std::size_t>(z)]) * plane;
      weighted_sum(points, plane, z_.weights.data() + z * z_.reach, z_.reach, plane,
                   values + i * plane);
    }
  });
  return out;
}

}  // namespace lamp
