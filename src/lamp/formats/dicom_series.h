// A folder of DICOM slices as one volume, or a refusal that says which file is at fault.
#pragma once

#include <filesystem>

#include "lamp/formats/raw_volume.h"
#include "lamp/volume/volume.h"

namespace lamp {

// The one image series in `folder` (or the one that options.dicom_series chooses): two slices or
// more, of one orientation and size, evenly spaced. Every file of the folder is accounted for as
// dicom_folder.h says. Throws InputError.
RawVolume read_dicom(const std::filesystem::path& folder, const ReadOptions& options);
VolumeHeader read_dicom_header(const std::filesystem::path& folder, const ReadOptions& options);

}  // namespace lamp
