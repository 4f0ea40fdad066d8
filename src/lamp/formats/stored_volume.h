// NRRD and MetaImage files. Headers and voxels are read on our side: ITK mirrors images whose space
// is left-anterior-superior, takes what a header does not say for known, overflows a buffer on a
// long field name, and fills the rest of a file that is cut short with zeros.
#pragma once

#include <filesystem>

#include "lamp/formats/raw_volume.h"
#include "lamp/volume/volume.h"

namespace lamp {

// .nrrd, .nhdr, .mha, .mhd, by the name. Throws InputError for whatever is cut short, damaged,
// contradictory or not understood, DoesNotFit for more than the memory holds.
RawVolume read_stored_volume(const std::filesystem::path& path, const ReadOptions& options);
// Only the header: all its checks and the number of bytes behind it, but not their checksum.
VolumeHeader read_stored_volume_header(const std::filesystem::path& path,
                                       const ReadOptions& options);

// Which file holds the voxels: `path` itself or the one that its header names.
std::filesystem::path voxel_file(const std::filesystem::path& path);

}  // namespace lamp
