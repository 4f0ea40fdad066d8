// Squared distances grow by one axis at a time; the root comes last.
#include "lamp/objective/distance_map.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <algorithm>
#include <limits>
#include <vector>

namespace lamp {
namespace {

constexpr double kFarAway = std::numeric_limits<double>::infinity();

// Along the rows there are only features and gaps, so two sweeps that count steps are enough.
void row_pass(const std::uint8_t* features, double* squared, std::int64_t width, double spacing) {
  double steps = kFarAway;
  for (std::int64_t x = 0; x < width; ++x) {
    steps = features[x] != 0 ? 0 : steps + 1;
    squared[x] = steps;
  }
  steps = kFarAway;
  for (std::int64_t x = width - 1; x >= 0; --x) {
    steps = features[x] != 0 ? 0 : steps + 1;
    const double nearest = std::min(squared[x], steps) * spacing;
    squared[x] = nearest * nearest;
  }
}

// The lower envelope of the parabolas (spacing * (i - q))^2 + line[q], one for each finite line[q].
class Envelope {
 public:
  Envelope(std::int64_t length, double spacing)
      : apex_(length), start_(length), height_(length), spacing_(spacing) {}

  void replace(double* line, std::int64_t length) {
    build(line, length);
    if (apex_.empty()) return;  // all infinite: stays so
    std::size_t k = 0;
    for (std::int64_t i = 0; i < length; ++i) {
      while (k + 1 < apex_.size() && start_[k + 1] < static_cast<double>(i)) ++k;
      const double step = spacing_ * static_cast<double>(i - apex_[k]);
      line[i] = step * step + height_[k];
    }
  }

 private:
  void build(const double* line, std::int64_t length) {
    apex_.clear();
    start_.clear();
    height_.clear();
    for (std::int64_t q = 0; q < length; ++q) {
      if (line[q] == kFarAway) continue;
      double start = -kFarAway;
      while (!apex_.empty() && (start = crossing(q, line[q])) <= start_.back()) {
        apex_.pop_back();
        start_.pop_back();
        height_.pop_back();
      }
      apex_.push_back(q);
      start_.push_back(apex_.size() == 1 ? -kFarAway : start);
      height_.push_back(line[q]);
    }
  }

  // Where the parabola of `q` falls below the last one of the envelope.
  double crossing(std::int64_t q, double height) const {
    const auto left = static_cast<double>(apex_.back());
    const auto right = static_cast<double>(q);
    return (left + right) / 2 +
           (height - height_.back()) / (2 * spacing_ * spacing_ * (right - left));
  }

  std::vector<std::int64_t> apex_;
  std::vector<double> start_;  // of the stretch in which this parabola is the lowest
  std::vector<double> height_;
  double spacing_;
};

// Lines along an axis whose neighbours lie `stride` apart. Several lines are fetched together,
// since a cache line holds one voxel of each.
void axis_pass(double* squared, std::int64_t outer, std::int64_t length, std::int64_t stride,
               double spacing) {
  constexpr std::int64_t kLines = 16;
  if (length == 1) return;
  const std::int64_t blocks = (stride + kLines - 1) / kLines;
  at::parallel_for(0, outer * blocks, 1, [&](std::int64_t begin, std::int64_t end) {
    Envelope envelope(length, spacing);
    std::vector<double> lines(static_cast<std::size_t>(length * kLines));
    for (std::int64_t block = begin; block < end; ++block) {
      const std::int64_t first = block % blocks * kLines;
      const std::int64_t count = std::min(kLines, stride - first);
      double* base = squared + block / blocks * length * stride + first;
      for (std::int64_t i = 0; i < length; ++i)
        for (std::int64_t k = 0; k < count; ++k) lines[k * length + i] = base[i * stride + k];
      for (std::int64_t k = 0; k < count; ++k) envelope.replace(&lines[k * length], length);
      for (std::int64_t i = 0; i < length; ++i)
        for (std::int64_t k = 0; k < count; ++k) base[i * stride + k] = lines[k * length + i];
    }
  });
}

}  // namespace

torch::Tensor distance_map(const torch::Tensor& features,
                           const std::array<double, 3>& spacing_dhw_mm) {
  TORCH_CHECK(features.dim() == 3 && features.device().is_cpu(),
              "distance_map: expected [D, H, W] on the CPU, got ", features.sizes(), " on ",
              features.device());
  for (const double spacing : spacing_dhw_mm)
    TORCH_CHECK(spacing > 0 && spacing < kFarAway, "distance_map: spacing ", spacing);
  const torch::Tensor mask = features.ne(0).to(torch::kUInt8).contiguous();
  torch::Tensor squared = torch::empty(mask.sizes(), torch::kFloat64);
  if (mask.numel() == 0) return squared;
  const std::int64_t depth = mask.size(0), height = mask.size(1), width = mask.size(2);
  const auto* in = mask.const_data_ptr<std::uint8_t>();
  auto* out = squared.data_ptr<double>();
  at::parallel_for(0, depth * height, 64, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t row = begin; row < end; ++row)
      row_pass(in + row * width, out + row * width, width, spacing_dhw_mm[2]);
  });
  axis_pass(out, depth, height, width, spacing_dhw_mm[1]);
  axis_pass(out, 1, depth, height * width, spacing_dhw_mm[0]);
  return squared.sqrt_();
}

torch::Tensor signed_distance_voxels(const torch::Tensor& mask, const torch::Tensor& known) {
  torch::Tensor inside = mask.ne(0), outside = mask.eq(0);
  if (known.defined()) {
    inside = inside.logical_and(known);
    outside = outside.logical_and(known);
  }
  if (!inside.any().item<bool>() || !outside.any().item<bool>())
    return torch::zeros(mask.sizes(), torch::kFloat32);
  const torch::Tensor outer = distance_map(inside, {1, 1, 1});
  const torch::Tensor inner = distance_map(outside, {1, 1, 1});
  const torch::Tensor distance = torch::where(inside, 0.5 - inner, outer - 0.5);
  return distance.masked_fill(inside.logical_or(outside).logical_not(), 0).to(torch::kFloat32);
}

}  // namespace lamp
