// One axis after the other with a triangle as wide as a voxel or a pixel, whichever is larger.
#include "lamp/preview/plane_pixels.h"

#include <algorithm>
#include <cmath>
#include <cstddef>

namespace lamp {
namespace {

struct VoxelWeight {
  int voxel;
  float weight;
};

// For each pixel the voxels that it shows, with weights of sum 1.
std::vector<std::vector<VoxelWeight>> pixel_weights(int voxels, int pixels) {
  const double step = static_cast<double>(voxels) / pixels, reach = std::max(step, 1.0);
  std::vector<std::vector<VoxelWeight>> all(static_cast<std::size_t>(pixels));
  for (int pixel = 0; pixel < pixels; ++pixel) {
    const double centre = (pixel + 0.5) * step - 0.5;
    const int first = std::max(0, static_cast<int>(std::ceil(centre - reach)));
    const int last = std::min(voxels - 1, static_cast<int>(std::floor(centre + reach)));
    double sum = 0;
    std::vector<VoxelWeight>& weights = all[static_cast<std::size_t>(pixel)];
    for (int voxel = first; voxel <= last; ++voxel) {
      const double weight = 1 - std::abs(voxel - centre) / reach;
      if (!(weight > 0)) continue;
      sum += weight;
      weights.push_back({voxel, static_cast<float>(weight)});
    }
    for (VoxelWeight& entry : weights) entry.weight /= static_cast<float>(sum);
  }
  return all;
}

}  // namespace

std::vector<int> voxels_under(int voxels, int pixels) {
  std::vector<int> under(static_cast<std::size_t>(pixels));
  for (int pixel = 0; pixel < pixels; ++pixel)
    under[static_cast<std::size_t>(pixel)] =
        std::min(voxels - 1, static_cast<int>((pixel + 0.5) * voxels / pixels));
  return under;
}

std::vector<float> scaled_greys(const std::vector<std::uint8_t>& grey, int columns, int rows,
                                int width, int height) {
  const auto at = [](int row, int column, int stride) {
    return static_cast<std::size_t>(row) * static_cast<std::size_t>(stride) +
           static_cast<std::size_t>(column);
  };
  const auto across = pixel_weights(columns, width), down = pixel_weights(rows, height);
  std::vector<float> wide(at(rows, 0, width)), result(at(height, 0, width));
  for (int row = 0; row < rows; ++row)
    for (int x = 0; x < width; ++x)
      for (const VoxelWeight& from : across[static_cast<std::size_t>(x)])
        wide[at(row, x, width)] += from.weight * grey[at(row, from.voxel, columns)];
  for (int y = 0; y < height; ++y)
    for (const VoxelWeight& from : down[static_cast<std::size_t>(y)])
      for (int x = 0; x < width; ++x)
        result[at(y, x, width)] += from.weight * wide[at(from.voxel, x, width)];
  return result;
}

}  // namespace lamp
