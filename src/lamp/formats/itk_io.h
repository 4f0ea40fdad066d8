// What ITK does for this program: it writes NRRD and MetaImage. The library can be built without
// ITK: these functions then refuse, and reading works.
#pragma once

#include <filesystem>
#include <string>

#include "lamp/volume/volume.h"

namespace lamp {

// .nrrd or .mha, compressed, voxels of 1, 2 or 4 bytes as in write_volume. `writer` goes into the
// header's field "lamp", with a seal (volume_mark.h). Atomic. Thread-safe, but calls wait for each
// other: the libraries below have global state.
void write_itk(const std::filesystem::path& path, const Volume& volume,
               const std::string& writer = "");

}  // namespace lamp
