// Surface elements of both maps inside their common box, and the distance transform of each surface
// read off at the elements of the other.
#include "lamp/objective/surface_metrics.h"

#include <ATen/ATen.h>
#include <ATen/Dispatch.h>
#include <ATen/Parallel.h>

#include <algorithm>
#include <limits>
#include <utility>

#include "lamp/objective/distance_map.h"
#include "lamp/objective/surface_areas.h"

namespace lamp {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

// [d+2, h+2, w+2] uint8: where the map holds the label, with one voxel of background all around.
torch::Tensor padded_mask(const torch::Tensor& map, const SurfaceRequest& request) {
  torch::Tensor part = map;
  for (int axis = 0; axis < 3; ++axis)
    part = part.slice(axis, request.box.first[axis], request.box.last[axis]);
  return at::constant_pad_nd(part.eq(request.label).to(torch::kUInt8), {1, 1, 1, 1, 1, 1});
}

// [d+1, h+1, w+1] uint8: for each corner between voxels which of its eight neighbours are set, by
// the bits of surface_areas().
torch::Tensor neighbourhood_codes(const torch::Tensor& mask) {
  const std::int64_t depth = mask.size(0) - 1, height = mask.size(1) - 1, width = mask.size(2) - 1;
  torch::Tensor codes = torch::empty({depth, height, width}, torch::kUInt8);
  const auto* in = mask.const_data_ptr<std::uint8_t>();
  auto* out = codes.data_ptr<std::uint8_t>();
  at::parallel_for(0, depth * height, 64, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t row = begin; row < end; ++row) {
      const auto* a = in + (row / height * (height + 1) + row % height) * (width + 1);
      const auto* b = a + (width + 1);                 // next row
      const auto* c = a + (height + 1) * (width + 1);  // next slice
      const auto* d = c + (width + 1);
      auto* code = out + row * width;
      for (std::int64_t x = 0; x < width; ++x)
        code[x] = static_cast<std::uint8_t>(a[x] | a[x + 1] << 1 | b[x] << 2 | b[x + 1] << 3 |
                                            c[x] << 4 | c[x + 1] << 5 | d[x] << 6 | d[x + 1] << 7);
    }
  });
  return codes;
}

bool is_surface(std::uint8_t code) { return code != 0 && code != 255; }

SurfaceElements sorted(std::vector<std::pair<double, double>> elements) {
  std::sort(elements.begin(), elements.end());
  SurfaceElements result;
  result.distance_mm.reserve(elements.size());
  result.area_mm2.reserve(elements.size());
  for (const auto& [distance, area] : elements) {
    result.distance_mm.push_back(distance);
    result.area_mm2.push_back(area);
    result.total_area_mm2 += area;
  }
  return result;
}

SurfaceElements measure(const torch::Tensor& from, const torch::Tensor& to,
                        const std::array<double, 3>& spacing_dhw_mm) {
  const torch::Tensor distances = distance_map(to.ne(0).logical_and_(to.ne(255)), spacing_dhw_mm);
  const auto areas = surface_areas(spacing_dhw_mm);
  const auto* code = from.const_data_ptr<std::uint8_t>();
  const auto* distance = distances.const_data_ptr<double>();
  std::vector<std::pair<double, double>> elements;
  for (std::int64_t i = 0; i < from.numel(); ++i)
    if (is_surface(code[i])) elements.emplace_back(distance[i], areas[code[i]]);
  return sorted(std::move(elements));
}

double percentile_mm(const SurfaceElements& elements, double percent) {
  double sum = 0;
  for (std::size_t i = 0; i < elements.distance_mm.size(); ++i) {
    sum += elements.area_mm2[i];
    if (sum / elements.total_area_mm2 >= percent / 100) return elements.distance_mm[i];
  }
  return elements.distance_mm.back();
}

double area_within(const SurfaceElements& elements, double tolerance_mm) {
  double sum = 0;
  for (std::size_t i = 0; i < elements.distance_mm.size(); ++i)
    if (elements.distance_mm[i] <= tolerance_mm) sum += elements.area_mm2[i];
  return sum;
}

double distance_integral(const SurfaceElements& elements) {
  double sum = 0;
  for (std::size_t i = 0; i < elements.distance_mm.size(); ++i)
    sum += elements.distance_mm[i] * elements.area_mm2[i];
  return sum;
}

bool missing(const SurfaceElements& elements) { return elements.distance_mm.empty(); }

}  // namespace

SurfaceDistances surface_distances(const torch::Tensor& predicted, const torch::Tensor& reference,
                                   const SurfaceRequest& request) {
  TORCH_CHECK(predicted.dim() == 3 && predicted.sizes() == reference.sizes(),
              "surface_distances: expected two [D, H, W] maps of one shape, got ",
              predicted.sizes(), " and ", reference.sizes());
  if (request.box.empty()) return {};
  const torch::Tensor found = neighbourhood_codes(padded_mask(predicted, request));
  const torch::Tensor expected = neighbourhood_codes(padded_mask(reference, request));
  return {.from_reference = measure(expected, found, request.spacing_dhw_mm),
          .from_prediction = measure(found, expected, request.spacing_dhw_mm)};
}

double robust_hausdorff_mm(const SurfaceDistances& distances, double percent) {
  const bool no_reference = missing(distances.from_reference);
  const bool no_prediction = missing(distances.from_prediction);
  if (no_reference && no_prediction) return kNan;
  if (no_reference || no_prediction) return kInfinity;
  return std::max(percentile_mm(distances.from_reference, percent),
                  percentile_mm(distances.from_prediction, percent));
}

double surface_dice(const SurfaceDistances& distances, double tolerance_mm) {
  const auto& [reference, prediction] = distances;
  if (missing(reference) && missing(prediction)) return kNan;
  return (area_within(reference, tolerance_mm) + area_within(prediction, tolerance_mm)) /
         (reference.total_area_mm2 + prediction.total_area_mm2);
}

double average_symmetric_distance_mm(const SurfaceDistances& distances) {
  const auto& [reference, prediction] = distances;
  if (missing(reference) && missing(prediction)) return kNan;
  return (distance_integral(reference) + distance_integral(prediction)) /
         (reference.total_area_mm2 + prediction.total_area_mm2);
}

}  // namespace lamp
