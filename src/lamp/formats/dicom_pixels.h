// The numbers of one DICOM slice: stored values with their rescale. How a viewer would paint them
// (MONOCHROME1's inversion, windows, overlays) is no part of the data.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

#include "lamp/base/fault.h"
#include "lamp/formats/dicom_elements.h"
#include "lamp/volume/volume.h"

namespace lamp {

// How voxels are stored, once pixel_fault has found nothing.
struct DicomPixels {
  std::int64_t width = 0, height = 0;
  int bits_allocated = 0, bits_stored = 0, high_bit = 0;
  bool is_signed = false;
  double slope = 1, intercept = 0;  // value = slope * stored + intercept

  std::int64_t bytes() const { return width * height * (bits_allocated / 8); }
};

// Why the voxels of this image cannot be taken for one finite number each, such as colour voxels
// where one value per voxel is expected; without file and what. None if they can.
std::optional<Fault> pixel_fault(const DicomElements& elements);
DicomPixels pixel_layout(const DicomElements& elements);

class DicomCodec;  // dicom_codec.h

// The scaled values, row by row, as the bytes of float32 numbers, for the scaling may differ from
// slice to slice. Throws InputError that names the file, also if its size is no longer `plane`'s.
std::string read_dicom_pixels(const std::filesystem::path& file, const Geometry& plane,
                              DicomCodec& codec);

}  // namespace lamp
