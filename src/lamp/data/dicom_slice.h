// One DICOM file checked from its first element to its last, before GDCM sees it: GDCM aborts the
// process on some files that are cut short, and replaces a missing position or spacing by 0 or 1.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "lamp/data/volume.h"

namespace lamp {

struct DicomSlice {
  std::filesystem::path file;
  std::string series_uid;
  Geometry plane;          // one voxel thick; its third axis is the normal of the first two
  double position_mm = 0;  // along that normal
};

// Starts with 128 free bytes and "DICM" (PS3.10, 7.1)?
bool is_dicom_file(const std::filesystem::path& path);

// Throws InputError unless the file is one complete slice with one number per voxel and a place in
// space. Single-frame images in little-endian transfer syntaxes; codecs are GDCM's business.
DicomSlice read_dicom_slice(const std::filesystem::path& path);

}  // namespace lamp
