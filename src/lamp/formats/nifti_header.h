// The header of a NIfTI file: where its fields lie (NIfTI-1: nifti1.h of 2007; NIfTI-2: nifti2.h of
// 2011, https://nifti.nimh.nih.gov) and which of their values make sense.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "lamp/base/size3.h"
#include "lamp/formats/nifti.h"

namespace lamp {

inline constexpr std::int64_t kNifti1Bytes =
    352;  // header and the four bytes that announce extensions
inline constexpr std::int64_t kNifti2Bytes = 544;

struct NiftiHeader {
  bool swap_bytes = false;
  Size3 size{};
  std::int64_t channels = 1;
  VoxelType type = VoxelType::kUInt8;
  double slope = 1;
  double intercept = 0;
  std::int64_t voxel_offset = 0;  // bytes from the start of the file
  NiftiSpace space;
  std::string description;  // to be written, at most 79 characters

  // Bytes of the whole file, uncompressed.
  std::int64_t file_bytes() const;
};

// Checks every field for itself; the orientation is nifti_geometry's business. Throws InputError.
NiftiHeader parse_nifti_header(std::string_view bytes, const std::string& file);

// The 352 bytes before the voxels of a NIfTI-1 file, little-endian. Throws Error if a size passes
// the format's 32767.
std::string nifti1_header(const NiftiHeader& header, const std::string& file);

}  // namespace lamp
