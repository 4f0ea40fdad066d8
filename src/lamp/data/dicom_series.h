// A folder of DICOM slices as one volume, or a refusal that says which slice is at fault.
#pragma once

#include <filesystem>

#include "lamp/data/raw_volume.h"
#include "lamp/data/volume.h"

namespace lamp {

// The one series in `folder`: two slices or more, of one orientation and size, evenly spaced within
// 1 %. Every DICOM file in the folder (except DICOMDIR) must be one of its slices; other files are
// ignored. Throws InputError.
RawVolume read_dicom(const std::filesystem::path& folder, const ReadOptions& options);
VolumeHeader read_dicom_header(const std::filesystem::path& folder, const ReadOptions& options);

}  // namespace lamp
