// .npy files built byte by byte, as numpy's format description says, for the tests to read and to
// damage.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "lamp/base/size3.h"

namespace lamp::testing {

struct NpyFile {
  std::string descr = "<i2";
  bool fortran_order = false;
  std::string shape = "(3, 4, 5)";
  int version = 1;
  std::string header;  // replaces the whole dictionary if not empty
  std::string data;

  std::string dictionary() const {
    if (!header.empty()) return header;
    return "{'descr': '" + descr + "', 'fortran_order': " + (fortran_order ? "True" : "False") +
           ", 'shape': " + shape + ", }";
  }

  std::string bytes() const {
    std::string text = dictionary();
    const std::size_t fixed = version == 1 ? 10 : 12;
    text.append(63 - (fixed + text.size()) % 64, ' ');
    text += '\n';
    std::string file = "\x93NUMPY";
    file += static_cast<char>(version);
    file += '\0';
    for (std::size_t i = 0; i < fixed - 8; ++i)
      file += static_cast<char>(text.size() >> (8 * i) & 0xff);
    return file + text + data;
  }
};

// `value` as the bytes of a T, the most significant first if `big_endian`. The machine is
// little-endian.
template <typename T>
std::string encoded(T value, bool big_endian) {
  std::string bytes(sizeof value, '\0');
  std::memcpy(bytes.data(), &value, sizeof value);
  if (big_endian) std::reverse(bytes.begin(), bytes.end());
  return bytes;
}

// The values of a z, y, x array, x fastest (C order) or z fastest (Fortran order).
template <typename T>
std::string array_bytes(const std::vector<T>& values, const Shape3& zyx, bool fortran_order,
                        bool big_endian) {
  std::string bytes;
  const auto [depth, height, width] = zyx;
  const auto at = [&](std::int64_t z, std::int64_t y, std::int64_t x) {
    bytes += encoded(values[static_cast<std::size_t>((z * height + y) * width + x)], big_endian);
  };
  if (fortran_order) {
    for (std::int64_t x = 0; x < width; ++x)
      for (std::int64_t y = 0; y < height; ++y)
        for (std::int64_t z = 0; z < depth; ++z) at(z, y, x);
  } else {
    for (std::int64_t z = 0; z < depth; ++z)
      for (std::int64_t y = 0; y < height; ++y)
        for (std::int64_t x = 0; x < width; ++x) at(z, y, x);
  }
  return bytes;
}

inline std::string shape_of(const Shape3& zyx) {
  return "(" + std::to_string(zyx[0]) + ", " + std::to_string(zyx[1]) + ", " +
         std::to_string(zyx[2]) + ")";
}

}  // namespace lamp::testing
