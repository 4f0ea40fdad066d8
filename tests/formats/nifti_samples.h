// A NIfTI file to damage: what the tests of intact and of broken files start from.
#pragma once

#include <gtest/gtest.h>

#include <cstddef>
#include <cstring>
#include <filesystem>
#include <limits>
#include <string>

#include "lamp/base/files.h"
#include "lamp/formats/nifti.h"
#include "support/temporary_folder.h"
#include "volume/volume_samples.h"

namespace lamp {

inline constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

// Offsets of NIfTI-1's fields.
inline constexpr std::size_t kDim = 40, kDatatype = 70, kBitpix = 72, kPixdim = 76,
                             kVoxOffset = 108;
inline constexpr std::size_t kSlope = 112, kUnits = 123, kQformCode = 252, kSformCode = 254;
inline constexpr std::size_t kQuatern = 256, kQoffset = 268, kSrow = 280, kMagic = 344;

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

  // The same fields and voxels (int16, 3-D, both codes from the file) as NIfTI-2.
  static std::string as_nifti2(const std::string& one) {
    const auto number = [&](std::size_t offset) {
      float value = 0;
      std::memcpy(&value, one.data() + offset, sizeof value);
      return static_cast<double>(value);
    };
    const auto whole = [&](std::size_t offset) {
      std::int16_t value = 0;
      std::memcpy(&value, one.data() + offset, sizeof value);
      return value;
    };
    std::string two(544, '\0');
    two = changed<std::int32_t>(two, 0, 540);
    std::memcpy(two.data() + 4, "n+2\0\r\n\032\n", 8);
    two = changed<std::int16_t>(two, 12, whole(kDatatype));
    two = changed<std::int16_t>(two, 14, whole(kBitpix));
    for (int i = 0; i < 8; ++i) {
      two = changed<std::int64_t>(two, 16 + 8 * i, whole(kDim + 2 * i));
      two = changed(two, 104 + 8 * i, number(kPixdim + 4 * i));
    }
    two = changed<std::int64_t>(two, 168, 544);
    two = changed<std::int32_t>(two, 344, whole(kQformCode));
    two = changed<std::int32_t>(two, 348, whole(kSformCode));
    for (int i = 0; i < 6; ++i) two = changed(two, 352 + 8 * i, number(kQuatern + 4 * i));
    for (int i = 0; i < 12; ++i) two = changed(two, 400 + 8 * i, number(kSrow + 4 * i));
    two = changed<std::int32_t>(two, 500, one[kUnits]);
    return two + one.substr(352);
  }

  testing::TemporaryFolder folder_;
  Random random_{7};
};

}  // namespace lamp
