// Two independent multiplicative hashes side by side: 128 bits.
#include "lamp/dataset/voxel_fingerprint.h"

#include <cstdio>
#include <cstring>

namespace lamp {

void VoxelFingerprint::add(std::uint64_t word) {
  constexpr std::array<std::uint64_t, 2> kFactors = {0x9fb21c651e98df25, 0xff51afd7ed558ccd};
  for (std::size_t i = 0; i < 2; ++i) {
    state_[i] = (state_[i] ^ word) * kFactors[i];
    state_[i] ^= state_[i] >> 32;
  }
}

void VoxelFingerprint::add(const torch::Tensor& voxels) {
  TORCH_CHECK(voxels.element_size() == 4, "a fingerprint is of voxels of four bytes");
  const torch::Tensor values = voxels.contiguous();
  for (const std::int64_t size : values.sizes()) add(static_cast<std::uint64_t>(size));
  const auto* bytes = static_cast<const char*>(values.const_data_ptr());
  const std::size_t count = values.nbytes();
  for (std::size_t at = 0; at < count; at += sizeof(std::uint64_t)) {
    std::uint64_t word = 0;
    std::memcpy(&word, bytes + at, std::min(sizeof word, count - at));
    add(word);
  }
}

std::string VoxelFingerprint::text() const {
  char text[33];
  std::snprintf(text, sizeof text, "%016llx%016llx", static_cast<unsigned long long>(state_[0]),
                static_cast<unsigned long long>(state_[1]));
  return text;
}

}  // namespace lamp
