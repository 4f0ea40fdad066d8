// The triangles are derived here instead of being typed in as a table. Two choices that marching
// cubes leave open were fixed by comparing the areas of all 256 codes, at several spacings, with
// those that DeepMind's surface-distance 0.1 reports (equal to 1e-14): the corners that are in the
// minority are cut off one by one where a face could also be joined, and a polygon that is not
// flat is split into the fan with the largest area on the unit cube.
#include "lamp/objective/surface_areas.h"

#include <bit>
#include <cmath>
#include <vector>

namespace lamp {
namespace {

using Vector = std::array<double, 3>;  // along D, H, W
using Polygon = std::vector<Vector>;

constexpr int kPoints = 27;  // corners, edge middles, face middles of the cube: 9 z + 3 y + x

constexpr std::array<int, 3> position(int corner) {
  return {2 * (corner >> 2 & 1), 2 * (corner >> 1 & 1), 2 * (corner & 1)};
}

int edge_middle(int corner, int other) {
  const auto a = position(corner), b = position(other);
  return 9 * (a[0] + b[0]) / 2 + 3 * ((a[1] + b[1]) / 2) + (a[2] + b[2]) / 2;
}

Vector coordinates(int point) { return {point / 9 * 0.5, point / 3 % 3 * 0.5, point % 3 * 0.5}; }

// The corners of a face in the order in which they are seen from outside.
std::array<int, 4> face_corners(int axis, int side) {
  const int u = 4 >> (axis + 1) % 3, v = 4 >> (axis + 2) % 3, base = side * (4 >> axis);
  if (side == 1) return {base, base | u, base | u | v, base | v};
  return {base, base | v, base | u | v, base | u};
}

// Each set corner (or run of them) of each face is cut off by one segment; the segments of the
// faces close to loops around the set corners.
std::vector<Polygon> polygons(int code) {
  std::array<int, kPoints> next;
  next.fill(-1);
  const auto set = [code](int corner) { return (code >> corner & 1) != 0; };
  for (int face = 0; face < 6; ++face) {
    const auto corners = face_corners(face / 2, face % 2);
    for (int last = 0; last < 4; ++last) {
      if (!set(corners[last]) || set(corners[(last + 1) % 4])) continue;
      int first = last;
      while (set(corners[(first + 3) % 4])) first = (first + 3) % 4;
      next[edge_middle(corners[last], corners[(last + 1) % 4])] =
          edge_middle(corners[(first + 3) % 4], corners[first]);
    }
  }
  std::vector<Polygon> loops;
  for (int start = 0; start < kPoints; ++start) {
    Polygon loop;
    for (int point = start; next[point] >= 0;) {
      loop.push_back(coordinates(point));
      const int following = next[point];
      next[point] = -1;
      point = following;
    }
    if (!loop.empty()) loops.push_back(loop);
  }
  return loops;
}

// Half the cross product: the triangle's normal, as long as its area.
Vector triangle_normal(const Vector& a, const Vector& b, const Vector& c) {
  const Vector u = {b[0] - a[0], b[1] - a[1], b[2] - a[2]};
  const Vector v = {c[0] - a[0], c[1] - a[1], c[2] - a[2]};
  return {(u[1] * v[2] - u[2] * v[1]) / 2, (u[2] * v[0] - u[0] * v[2]) / 2,
          (u[0] * v[1] - u[1] * v[0]) / 2};
}

std::vector<Vector> fan(const Polygon& polygon, std::size_t apex) {
  const std::size_t count = polygon.size();
  std::vector<Vector> normals;
  for (std::size_t i = 1; i + 1 < count; ++i)
    normals.push_back(triangle_normal(polygon[apex], polygon[(apex + i) % count],
                                      polygon[(apex + i + 1) % count]));
  return normals;
}

double area(const std::vector<Vector>& normals, const Vector& spacing) {
  double sum = 0;
  for (const Vector& n : normals)
    sum += std::hypot(n[0] * spacing[1] * spacing[2], n[1] * spacing[0] * spacing[2],
                      n[2] * spacing[0] * spacing[1]);
  return sum;
}

std::vector<Vector> code_normals(int code) {
  constexpr double kRounding = 1e-9;
  const auto bits = static_cast<unsigned>(code);
  std::vector<Vector> normals;
  for (const Polygon& polygon : polygons(std::popcount(bits) <= 4 ? code : 255 - code)) {
    std::vector<Vector> best;
    for (std::size_t apex = 0; apex < polygon.size(); ++apex) {
      auto candidate = fan(polygon, apex);
      if (area(candidate, {1, 1, 1}) > area(best, {1, 1, 1}) + kRounding) best = candidate;
    }
    normals.insert(normals.end(), best.begin(), best.end());
  }
  return normals;
}

}  // namespace

std::array<double, 256> surface_areas(const std::array<double, 3>& spacing_dhw_mm) {
  static const auto kNormals = [] {
    std::array<std::vector<Vector>, 256> all;
    for (int code = 0; code < 256; ++code) all[code] = code_normals(code);
    return all;
  }();
  std::array<double, 256> areas;
  for (int code = 0; code < 256; ++code) areas[code] = area(kNormals[code], spacing_dhw_mm);
  return areas;
}

}  // namespace lamp
