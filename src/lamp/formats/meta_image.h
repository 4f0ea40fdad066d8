// MetaImage headers by MetaIO's documentation of the format: fields, matrix, spacing.
#pragma once

#include <filesystem>

#include "lamp/formats/stored_data.h"

namespace lamp {

// Reads the header of a .mha or .mhd; its world is LPS and mm. Where the file does not say which
// way its axes run, where it starts or how large a voxel is, a warning says what was assumed.
// Throws InputError for a header that contradicts itself and for what it does not understand, among
// it voxels as text, HeaderSize, images spread over several files, and lengths in other units.
StoredVolume parse_meta_image(const std::filesystem::path& path);
// Only which file holds the voxels; says nothing.
std::filesystem::path meta_data_file(const std::filesystem::path& path);

}  // namespace lamp
