// Grids and voxels that the tests of image files share.
#pragma once

#include <gtest/gtest.h>
#include <torch/types.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <string>

#include "lamp/base/errors.h"
#include "lamp/base/random.h"
#include "lamp/base/size3.h"
#include "lamp/formats/volume_io.h"

namespace lamp::testing {

// A rotation by random angles about all axes, mirrored every other time.
inline std::array<double, 9> random_direction(Random& random) {
  const double a = random.uniform(-3, 3), b = random.uniform(-1.5, 1.5), c = random.uniform(-3, 3);
  const double ca = std::cos(a), sa = std::sin(a), cb = std::cos(b), sb = std::sin(b);
  const double cc = std::cos(c), sc = std::sin(c), m = random.uniform() < 0.5 ? -1 : 1;
  return {ca * cb,
          ca * sb * sc - sa * cc,
          m * (ca * sb * cc + sa * sc),
          sa * cb,
          sa * sb * sc + ca * cc,
          m * (sa * sb * cc - ca * sc),
          -sb,
          cb * sc,
          m * cb * cc};
}

inline Geometry oblique_grid(Random& random, Size3 size) {
  Geometry grid{.size = size, .direction = random_direction(random)};
  for (int a = 0; a < 3; ++a) {
    grid.spacing_mm[a] = random.uniform(0.3, 4);
    grid.origin_mm[a] = random.uniform(-400, 400);
  }
  return grid;
}

// CT-like values, all different from their neighbours.
inline torch::Tensor random_voxels(Random& random, const Geometry& grid, torch::Dtype type,
                                   std::int64_t channels = 1) {
  torch::Tensor voxels =
      torch::empty({channels, grid.size[2], grid.size[1], grid.size[0]}, torch::kFloat32);
  float* value = voxels.data_ptr<float>();
  for (std::int64_t i = 0; i < voxels.numel(); ++i)
    value[i] =
        static_cast<float>(type == torch::kUInt8 ? random.below(256) : random.below(4000) - 1000);
  return voxels.to(type);
}

inline void expect_same_grid(const Geometry& a, const Geometry& b, double relative) {
  ASSERT_EQ(a.size, b.size);
  double reach = 0;  // an origin's error counts against the distances in the image
  for (int i = 0; i < 3; ++i)
    reach += std::abs(a.origin_mm[i]) + a.spacing_mm[i] * static_cast<double>(a.size[i]);
  for (int i = 0; i < 3; ++i) {
    EXPECT_NEAR(a.spacing_mm[i], b.spacing_mm[i], relative * a.spacing_mm[i]);
    EXPECT_NEAR(a.origin_mm[i], b.origin_mm[i], relative * reach);
  }
  for (int i = 0; i < 9; ++i) EXPECT_NEAR(a.direction[i], b.direction[i], relative) << i;
}

// Unlike write_file without syncing to the disk, which a thousand damaged files need not wait for.
inline std::filesystem::path written(const std::filesystem::path& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary) << bytes;
  return path;
}

// Reading must throw InputError with `part` in its message, whatever the call.
template <typename Read>
void expect_refused(Read read, const std::string& part) {
  try {
    read();
    ADD_FAILURE() << "was read, expected a refusal with \"" << part << '"';
  } catch (const InputError& error) {
    EXPECT_NE(std::string(error.what()).find(part), std::string::npos) << error.what();
    EXPECT_EQ(std::string(error.what()).find('\n'), std::string::npos) << error.what();
  }
}

inline void expect_image_refused(const std::filesystem::path& path, const std::string& part) {
  expect_refused([&] { read_image(path); }, part);
}

}  // namespace lamp::testing
