// NRRD, MetaImage and DICOM through ITK, with the checks that ITK leaves out. The library can be
// built without ITK: these functions then refuse, and NIfTI still works.
#pragma once

#include <filesystem>
#include <string>

#include "lamp/data/raw_volume.h"
#include "lamp/data/volume.h"

namespace lamp {

// .nrrd, .nhdr, .mha, .mhd. Thread-safe, but calls wait for each other: the libraries below have
// global state.
RawVolume read_itk(const std::filesystem::path& path, const ReadOptions& options);
VolumeHeader read_itk_header(const std::filesystem::path& path, const ReadOptions& options);
// .nrrd or .mha, compressed, voxels of 1, 2 or 4 bytes as in write_volume. `writer` goes into the
// header's field "lamp", with a seal (volume_mark.h). Atomic.
void write_itk(const std::filesystem::path& path, const Volume& volume,
               const std::string& writer = "");

// The scaled values of one slice that read_dicom_slice has let pass, as the bytes of float32
// numbers: the scaling may differ from slice to slice.
std::string decode_dicom(const std::filesystem::path& path, const Geometry& plane);

}  // namespace lamp
