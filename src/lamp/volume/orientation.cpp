// x, y, z are the tensor's dimensions 3, 2, 1.
#include "lamp/volume/orientation.h"

#include <cmath>
#include <vector>

#include "lamp/volume/matrix3.h"

namespace lamp {

AxisMap canonical_axes(const Geometry& grid) {
  constexpr double kTie = 1e-9;
  std::array<int, 3> order = {0, 1, 2};
  AxisMap best;
  double largest = -1;
  do {
    double trace = 0;
    for (int a = 0; a < 3; ++a) trace += std::abs(grid.direction[3 * a + order[a]]);
    if (trace > largest + kTie) {
      largest = trace;
      best.source_axis = order;
    }
  } while (std::next_permutation(order.begin(), order.end()));
  for (int a = 0; a < 3; ++a) best.flip[a] = grid.direction[3 * a + best.source_axis[a]] < 0;
  return best;
}

AxisMap inverse(const AxisMap& map) {
  AxisMap result;
  for (int a = 0; a < 3; ++a) {
    result.source_axis[map.source_axis[a]] = a;
    result.flip[map.source_axis[a]] = map.flip[a];
  }
  return result;
}

Geometry reorient(const Geometry& grid, const AxisMap& map) {
  Geometry result = grid;
  Vector3 first = {0, 0, 0};  // the input index of the output's first voxel
  for (int a = 0; a < 3; ++a) {
    const int source = map.source_axis[a];
    result.size[a] = grid.size[source];
    result.spacing_mm[a] = grid.spacing_mm[source];
    Vector3 along = column(grid.direction, source);
    if (map.flip[a]) {
      first[source] = static_cast<double>(grid.size[source] - 1);
      for (double& value : along) value = -value;
    }
    set_column(result.direction, a, along);
  }
  result.origin_mm = grid.point(first);
  return result;
}

torch::Tensor reorient(const torch::Tensor& voxels, const AxisMap& map) {
  TORCH_CHECK(voxels.dim() == 4, "expected voxels [C, D, H, W], found ", voxels.sizes());
  std::vector<std::int64_t> flipped;
  for (int a = 0; a < 3; ++a)
    if (map.flip[a]) flipped.push_back(3 - a);
  const torch::Tensor ordered =
      voxels.permute({0, 3 - map.source_axis[2], 3 - map.source_axis[1], 3 - map.source_axis[0]});
  return flipped.empty() ? ordered : ordered.flip(flipped);
}

}  // namespace lamp
