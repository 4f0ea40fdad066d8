// Planes along one axis: which a layer reads to make others, and which slab of a volume owns which.
// A convolution joins two sides. The dense side is what it reads and what a transposed one writes;
// plane o of the strided side belongs to the dense planes
//
//   o * stride - padding, ..., o * stride - padding + kernel - 1.
#pragma once

#include <torch/types.h>

#include <cstddef>
#include <cstdint>
#include <vector>

namespace lamp {

struct PlaneRange {
  std::int64_t first = 0;
  std::int64_t last = 0;  // the one after
  std::int64_t count() const { return last - first; }
  bool operator==(const PlaneRange&) const = default;
};

// Empty (first = last) where they have nothing in common.
PlaneRange common(const PlaneRange& a, const PlaneRange& b);

// How a layer moves along one axis. The defaults are those of a layer that makes each plane of the
// one at its place, such as a norm.
struct PlaneRule {
  std::int64_t kernel = 1;
  std::int64_t stride = 1;
  std::int64_t padding = 0;  // at both ends of the volume
  bool transposed = false;

  // Whether some planes that come out are made of none that go in.
  bool leaves_gaps() const { return transposed && stride > kernel; }
  // Dense planes that strided ones belong to, and strided planes that reach dense ones; both may
  // lie beyond the ends.
  PlaneRange dense_of(const PlaneRange& strided) const;
  PlaneRange strided_of(const PlaneRange& dense) const;
  // Planes that come out where `planes` go in.
  std::int64_t output_planes(std::int64_t planes) const;
  // Planes of an input of `planes` that the output's `range` is made of: for a convolution all that
  // it reads, beyond the ends too, where there is zero padding.
  PlaneRange needed(const PlaneRange& range, std::int64_t planes) const;
};

// The slabs of a volume: one range of planes along an axis for each, at every level of a network.
struct SlabCut {
  int axis = 2;                          // of [N, C, D, H, W]: 2, 3 or 4
  std::vector<std::int64_t> boundaries;  // at full resolution: 0, ..., all planes

  std::size_t slabs() const { return boundaries.size() - 1; }
  // At a level with so many planes each boundary b lies at round(b * planes / boundaries.back()),
  // halves up; it need not be a multiple of any stride.
  std::vector<PlaneRange> owned(std::int64_t planes) const;
};

// `slabs` ranges of `planes` that differ by at most one plane.
std::vector<std::int64_t> even_boundaries(std::int64_t planes, std::int64_t slabs);

// A view of planes of an axis.
torch::Tensor narrowed(const torch::Tensor& tensor, std::int64_t axis, const PlaneRange& range);

}  // namespace lamp
