// Interpolation of parts of one grid from another: what all of resample.h is made of.
#pragma once

#include <torch/types.h>

#include <array>
#include <cstdint>
#include <vector>

#include "lamp/base/size3.h"
#include "lamp/volume/matrix3.h"
#include "lamp/volume/volume.h"

namespace lamp {

// Voxels begin (inclusive) to end (exclusive) along x, y, z.
struct Box {
  std::array<std::int64_t, 3> begin = {0, 0, 0};
  std::array<std::int64_t, 3> end = {0, 0, 0};

  bool empty() const { return begin[0] >= end[0] || begin[1] >= end[1] || begin[2] >= end[2]; }
};

class GridSampler {
 public:
  GridSampler(const Geometry& from, const Geometry& to);

  // Do the axes of both grids run along the same lines?
  bool aligned() const { return aligned_; }
  // Does every voxel of `to` have its centre between the outer edges of `from`?
  bool covered() const;
  // Which voxels in `box` of `to` do not: bool [d, h, w].
  torch::Tensor beyond(const Box& box) const;
  // The box of `to`, in slabs along z of at most `voxels` voxels (one slice at least).
  std::vector<Box> slabs(std::int64_t voxels) const;

  // Values [D, H, W] of `from` (any float type, any device) in `box` of `to`: float32 on the CPU.
  // `cubic` has no effect unless aligned.
  torch::Tensor sample(const torch::Tensor& values, const Box& box, bool cubic = false) const;
  // 1 where `labels` equals `label`, 0 elsewhere, interpolated linearly.
  torch::Tensor sample_mask(const torch::Tensor& labels, std::int64_t label, const Box& box) const;
  // The part of `box` that voxels within `source` of `from` can reach; all of it unless aligned.
  Box reached(const Box& box, const Box& source) const;

 private:
  Box needed(const Box& box, bool cubic) const;
  torch::Tensor along_axes(torch::Tensor crop, const Box& source, const Box& box, bool cubic) const;
  torch::Tensor through_points(const torch::Tensor& values, const Box& box) const;

  Size3 from_size_;
  Size3 to_size_;
  Matrix3 matrix_;  // index in `from` = matrix_ * index in `to` + offset_
  Vector3 offset_;
  bool aligned_ = false;
  std::array<std::vector<double>, 3>
      positions_;  // of every output index, clamped to the source; only if aligned
};

}  // namespace lamp
