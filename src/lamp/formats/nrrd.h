// NRRD headers by the definition of the format (https://teem.sourceforge.net/nrrd/format.html):
// fields, axes, the space they lie in.
#pragma once

#include <filesystem>

#include "lamp/formats/stored_data.h"

namespace lamp {

// Reads the header of a .nrrd or .nhdr. Its space is converted to LPS and mm; where the file does
// not say which way its axes run, where it starts or how large a voxel is, a warning says what was
// assumed. Channels are the first axis. Throws InputError for a header that contradicts itself and
// for what it does not understand, among it encodings whose length nothing attests (text,
// hexadecimal), skips, images spread over several files, and lengths in other units than mm.
StoredVolume parse_nrrd(const std::filesystem::path& path);
// Only which file holds the voxels; says nothing.
std::filesystem::path nrrd_data_file(const std::filesystem::path& path);

}  // namespace lamp
