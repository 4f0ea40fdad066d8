// A NIfTI file to damage: what the tests of intact and of broken files start from.
#pragma once

#include <gtest/gtest.h>

#include <cstddef>
#include <cstring>
#include <filesystem>
#include <limits>
#include <string>

#include "data/volume_samples.h"
#include "lamp/base/files.h"
#include "lamp/data/nifti.h"
#include "support/temporary_folder.h"

namespace lamp {

class NiftiSamples : public ::testing::Test {
 protected:
  // A small int16 volume on an oblique grid.
  Volume sample() {
    const Geometry grid = testing::oblique_grid(random_, {24, 20, 16});
    return {.geometry = grid, .voxels = testing::random_voxels(random_, grid, torch::kInt16)};
  }
  // The same on a grid along L, P, S.
  Volume straight() {
    Volume volume = sample();
    volume.geometry.direction = Geometry{}.direction;
    return volume;
  }
  // The bytes of an uncompressed file that hold `volume`.
  std::string bytes_of_file(const Volume& volume) {
    write_volume(folder_ / "plain.nii", volume);
    return read_file(folder_ / "plain.nii");
  }
  std::filesystem::path file(const std::string& bytes, const std::string& name = "changed.nii") {
    return testing::written(folder_ / name, bytes);
  }
  // A file of straight() with one field of its header replaced.
  template <typename T>
  std::filesystem::path with_field(std::size_t offset, T value) {
    return file(changed(bytes_of_file(straight()), offset, value));
  }
  template <typename T>
  static std::string changed(std::string bytes, std::size_t offset, T value) {
    std::memcpy(bytes.data() + offset, &value, sizeof value);
    return bytes;
  }

  testing::TemporaryFolder folder_;
  Random random_{7};
};

inline constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

// Offsets of NIfTI-1's fields.
inline constexpr std::size_t kDim = 40, kDatatype = 70, kBitpix = 72, kPixdim = 76,
                             kVoxOffset = 108;
inline constexpr std::size_t kSlope = 112, kUnits = 123, kQformCode = 252, kSformCode = 254;
inline constexpr std::size_t kQuatern = 256, kQoffset = 268, kSrow = 280, kMagic = 344;

}  // namespace lamp
