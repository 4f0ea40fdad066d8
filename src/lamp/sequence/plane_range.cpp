// Integer arithmetic of planes.
#include "lamp/sequence/plane_range.h"

#include <algorithm>

namespace lamp {
namespace {

std::int64_t floor_quotient(std::int64_t a, std::int64_t b) {
  return a >= 0 ? a / b : -((-a + b - 1) / b);
}

}  // namespace

PlaneRange common(const PlaneRange& a, const PlaneRange& b) {
  const std::int64_t first = std::max(a.first, b.first);
  return {first, std::max(first, std::min(a.last, b.last))};
}

PlaneRange PlaneRule::dense_of(const PlaneRange& strided) const {
  const std::int64_t start = strided.first * stride - padding;
  if (strided.count() == 0) return {start, start};
  return {start, start + (strided.count() - 1) * stride + kernel};
}

PlaneRange PlaneRule::strided_of(const PlaneRange& dense) const {
  const std::int64_t first = floor_quotient(dense.first + padding - kernel, stride) + 1;
  return {first, std::max(first, floor_quotient(dense.last - 1 + padding, stride) + 1)};
}

std::int64_t PlaneRule::output_planes(std::int64_t planes) const {
  return transposed ? (planes - 1) * stride + kernel - 2 * padding
                    : floor_quotient(planes + 2 * padding - kernel, stride) + 1;
}

PlaneRange PlaneRule::needed(const PlaneRange& range, std::int64_t planes) const {
  return transposed ? common(strided_of(range), {0, planes}) : dense_of(range);
}

std::vector<PlaneRange> SlabCut::owned(std::int64_t planes) const {
  const std::int64_t all = boundaries.back();
  const auto at = [&](std::int64_t boundary) { return (2 * boundary * planes + all) / (2 * all); };
  std::vector<PlaneRange> ranges;
  for (std::size_t slab = 0; slab < slabs(); ++slab)
    ranges.push_back({at(boundaries[slab]), at(boundaries[slab + 1])});
  return ranges;
}

std::vector<std::int64_t> even_boundaries(std::int64_t planes, std::int64_t slabs) {
  std::vector<std::int64_t> boundaries;
  for (std::int64_t slab = 0; slab <= slabs; ++slab) boundaries.push_back(slab * planes / slabs);
  return boundaries;
}

torch::Tensor narrowed(const torch::Tensor& tensor, std::int64_t axis, const PlaneRange& range) {
  return tensor.narrow(axis, range.first, range.count());
}

}  // namespace lamp
