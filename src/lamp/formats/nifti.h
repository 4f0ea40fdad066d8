// NIfTI files read and written without trust: nothing is allocated on a header's word alone, every
// byte of a compressed file is checked, and a file whose orientation contradicts itself is refused
// instead of guessed at.
#pragma once

#include <array>
#include <filesystem>
#include <string>

#include "lamp/formats/raw_volume.h"
#include "lamp/volume/volume.h"

namespace lamp {

// A file's own orientation fields. They go back bit for bit into a file on the same grid, because
// no other form of them survives every other program unchanged.
struct NiftiSpace {
  std::array<double, 8> pixdim{};  // [0] is qfac
  int qform_code = 0;
  int sform_code = 0;
  std::array<double, 3> quatern{};  // b, c, d
  std::array<double, 3> qoffset{};
  std::array<double, 12> srow{};  // rows x, y, z
  int xyzt_units = 0;
  Geometry grid;  // what the reader made of them
};

// Reads .nii and .nii.gz, NIfTI-1 and NIfTI-2 in either byte order; dimension 4 (or 5, for vectors)
// is the channel. RAS becomes LPS. Throws InputError for anything cut short, damaged, contradictory
// or of a type that is no number.
RawVolume read_nifti(const std::filesystem::path& path, const ReadOptions& options);

// Only the header: all its checks, but not the checksum behind compressed voxels.
VolumeHeader read_nifti_header(const std::filesystem::path& path, const ReadOptions& options);

// Writes NIfTI-1 in one piece, gzip-compressed if the name ends in .gz: uint8, int16, int32 or
// float32 voxels [C, D, H, W]. With the volume's `nifti_space`, if that still describes its grid,
// the orientation fields are the ones read; else sform and qform both say `geometry` (code 1).
// `writer` goes into descrip, with a seal (volume_mark.h). Atomic. Throws Error if the disk
// refuses.
void write_nifti(const std::filesystem::path& path, const Volume& volume,
                 const std::string& writer = "");

}  // namespace lamp
