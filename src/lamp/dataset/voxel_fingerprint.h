// A short text that tells whether two images hold the same voxels, whatever files they came from.
// Fast rather than proof against forgery: it looks for copies, not for enemies.
#pragma once

#include <torch/types.h>

#include <array>
#include <cstdint>
#include <string>

namespace lamp {

class VoxelFingerprint {
 public:
  // [C, D, H, W] of four bytes each (float32, int32); the order counts.
  void add(const torch::Tensor& voxels);
  std::string text() const;  // 32 hexadecimal digits

 private:
  void add(std::uint64_t word);

  std::array<std::uint64_t, 2> state_ = {0x9e3779b97f4a7c15, 0xc2b2ae3d27d4eb4f};
};

}  // namespace lamp
