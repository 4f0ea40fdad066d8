// A PNG as its pixels, read by libpng and not by what wrote it.
#pragma once

#include <gtest/gtest.h>
#include <png.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <tuple>
#include <vector>

namespace lamp::testing {

using Colour = std::tuple<int, int, int>;  // red, green, blue

struct DecodedPng {
  int width = 0, height = 0;  // 0 = it is no PNG
  std::vector<std::uint8_t> bytes;

  Colour at(int x, int y) const {
    const auto place = 3 * (static_cast<std::size_t>(y) * static_cast<std::size_t>(width) +
                            static_cast<std::size_t>(x));
    return {bytes.at(place), bytes.at(place + 1), bytes.at(place + 2)};
  }
  int grey(int x, int y) const { return std::get<0>(at(x, y)); }
};

inline DecodedPng decoded_png(const std::string& file) {
  DecodedPng picture;
  png_image image{};
  image.version = PNG_IMAGE_VERSION;
  if (!png_image_begin_read_from_memory(&image, file.data(), file.size())) {
    ADD_FAILURE() << image.message;
    return picture;
  }
  image.format = PNG_FORMAT_RGB;
  picture.bytes.resize(PNG_IMAGE_SIZE(image));
  if (!png_image_finish_read(&image, nullptr, picture.bytes.data(), 0, nullptr)) {
    ADD_FAILURE() << image.message;
    return picture;
  }
  picture.width = static_cast<int>(image.width);
  picture.height = static_cast<int>(image.height);
  return picture;
}

}  // namespace lamp::testing
