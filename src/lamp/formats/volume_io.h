// Images and label maps of any supported format, by one call. Formats: NIfTI (.nii, .nii.gz), NRRD
// (.nrrd, .nhdr), MetaImage (.mha, .mhd) and folders that hold one DICOM series.
#pragma once

#include <filesystem>
#include <string>

#include "lamp/base/fault.h"
#include "lamp/formats/volume_names.h"  // case_name
#include "lamp/volume/volume.h"

namespace lamp {

// All functions are thread-safe and throw InputError, naming the file, for what cannot be read or
// cannot be trusted: damaged or cut short, of contradictory or (unless allowed) sheared geometry,
// 2-D.

// float32 voxels [C, D, H, W]; the values are the scaled ones.
Volume read_image(const std::filesystem::path& path, const ReadOptions& options = {});
// Voxels [1, D, H, W] of the smallest of uint8, int16 and int32 that holds them; refuses values
// that are not whole.
Volume read_label(const std::filesystem::path& path, const ReadOptions& options = {});
// Grid and number of channels, without the voxels (whose damage it cannot see).
VolumeHeader read_volume_header(const std::filesystem::path& path, const ReadOptions& options = {});

// Writes uint8, int16, int32 or float32 voxels [C, D, H, W], by extension: .nii.gz, .nii, .nrrd or
// .mha. `writer`, such as "lamp segment", is kept in the file's header with a seal, by which
// own_volume() knows it again (volume_mark.h). Atomic. Throws UsageError for another extension and
// Error if the disk refuses.
void write_volume(const std::filesystem::path& path, const Volume& volume,
                  const std::string& writer = "");

// Why a regular file that is none of these formats is not read, and the way out: a single DICOM
// file is a slice of its folder.
Fault unread_file(const std::filesystem::path& path, const std::string& what);

// A file with the name of a supported format, or a folder with DICOM slices of its own.
bool is_volume_file(const std::filesystem::path& path);

}  // namespace lamp
