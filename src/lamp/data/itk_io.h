// What ITK does for this program: it writes NRRD and MetaImage, and decodes DICOM. The library can
// be built without ITK: these functions then refuse; NIfTI, and reading NRRD and MetaImage, work.
#pragma once

#include <filesystem>
#include <string>

#include "lamp/data/volume.h"

namespace lamp {

// .nrrd or .mha, compressed, voxels of 1, 2 or 4 bytes as in write_volume. Atomic. Thread-safe, but
// calls wait for each other: the libraries below have global state.
void write_itk(const std::filesystem::path& path, const Volume& volume);

// The scaled values of one slice that read_dicom_slice has let pass, as the bytes of float32
// numbers: the scaling may differ from slice to slice.
std::string decode_dicom(const std::filesystem::path& path, const Geometry& plane);

}  // namespace lamp
