// What two label maps have in common, counted for every label in one pass over the volume.
#pragma once

#include <torch/types.h>

#include <array>
#include <cstdint>
#include <map>

namespace lamp {

// Half-open ranges of voxel indices along D, H, W; empty if first >= last.
struct VoxelBox {
  std::array<std::int64_t, 3> first = {0, 0, 0};
  std::array<std::int64_t, 3> last = {0, 0, 0};
  bool empty() const { return first[0] >= last[0]; }
};

struct LabelOverlap {
  std::int64_t true_positive = 0;
  std::int64_t n_pred = 0;  // voxels of the prediction
  std::int64_t n_ref = 0;   // voxels of the reference
  std::int64_t voxels = 0;  // of the whole volume
  VoxelBox box;             // around the label in both maps

  std::int64_t false_positive() const { return n_pred - true_positive; }
  std::int64_t false_negative() const { return n_ref - true_positive; }
  std::int64_t true_negative() const { return voxels - n_pred - n_ref + true_positive; }
  double dice() const;  // NaN if neither map holds the label
  double iou() const;   // NaN if neither map holds the label
};

// predicted, reference: [D, H, W] of one shape, integers of any type, on the CPU. Every value found
// in either is a key, the background too. Thread-safe.
std::map<std::int64_t, LabelOverlap> count_overlap(const torch::Tensor& predicted,
                                                   const torch::Tensor& reference);

}  // namespace lamp
