// NumPy's .npy files read without trust: AnatomyNet's preprocessed head-and-neck data come as such.
// No Python is ever evaluated, no object array opened, and nothing allocated on a header's word.
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "lamp/formats/raw_volume.h"

namespace lamp {

// An array of numbers in C order: the last axis runs fastest.
struct NpyArray {
  std::vector<std::int64_t> shape;
  VoxelType type = VoxelType::kUInt8;  // bool is uint8 of 0 and 1, float16 has become float32
  bool swap_bytes = false;             // the values are big-endian
  std::string bytes;                   // the values start at `offset`
  std::size_t offset = 0;
};

// Versions 1.0, 2.0 and 3.0; C and Fortran order; either byte order; bool, integers of 1, 2, 4 and
// 8 bytes, floats of 2, 4 and 8. Throws InputError, naming the file, for object and structured
// arrays and other types, for a header that is not one or whose claims overflow, and for a file
// that is longer or shorter than its header says.
NpyArray read_npy(const std::filesystem::path& path);

// A 3-D array of z, y, x as a volume: its axes lie along L, P, S from the origin, since the format
// says nothing of space. Throws InputError for another number of axes too.
RawVolume read_npy_volume(const std::filesystem::path& path,
                          const std::array<double, 3>& spacing_mm);

}  // namespace lamp
