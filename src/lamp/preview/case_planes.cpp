// Slices are cut from the voxels as they lie in the file and turned afterwards, so that no volume
// is copied.
#include "lamp/preview/case_planes.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <numbers>
#include <set>
#include <utility>

#include "lamp/base/errors.h"
#include "lamp/base/size3.h"
#include "lamp/base/text.h"
#include "lamp/volume/orientation.h"

namespace lamp {
namespace {

using VoxelIndex = std::array<std::int64_t, 3>;  // x, y, z of the file's grid

constexpr double kObliqueDegrees = 0.5;  // less is not seen

// A plane by its canonical axes (0 to the left, 1 to the back, 2 to the head).
struct PlaneKind {
  const char* name;
  int across, columns, rows;
  bool rows_turned;  // the first row is the last of its axis
  std::array<char, 4> sides;
};
constexpr std::array<PlaneKind, 3> kPlanes = {{{"axial", 2, 0, 1, false, {'R', 'L', 'A', 'P'}},
                                               {"coronal", 1, 0, 2, true, {'R', 'L', 'H', 'F'}},
                                               {"sagittal", 0, 1, 2, true, {'A', 'P', 'H', 'F'}}}};

struct LabelSum {
  std::int64_t voxels = 0;
  std::array<double, 3> index = {0, 0, 0};  // summed
};

// Calls visit(x, y, z, label) for every labelled voxel; copies one slice at a time.
template <typename Visit>
void visit_labels(const torch::Tensor& map, const Visit& visit) {
  for (std::int64_t z = 0; z < map.size(0); ++z) {
    const torch::Tensor slice = map[z].to(torch::kInt32).contiguous();
    const auto* label = slice.const_data_ptr<std::int32_t>();
    for (std::int64_t y = 0; y < map.size(1); ++y)
      for (std::int64_t x = 0; x < map.size(2); ++x, ++label)
        if (*label > 0) visit(x, y, z, *label);
  }
}

std::map<std::int64_t, LabelSum> sums_of_labels(const torch::Tensor& map) {
  std::map<std::int64_t, LabelSum> sums;
  std::int64_t last_label = 0;
  LabelSum* last = nullptr;  // neighbours are mostly alike
  visit_labels(map, [&](std::int64_t x, std::int64_t y, std::int64_t z, std::int64_t label) {
    if (last == nullptr || label != last_label) last = &sums[last_label = label];
    ++last->voxels;
    last->index[0] += static_cast<double>(x);
    last->index[1] += static_cast<double>(y);
    last->index[2] += static_cast<double>(z);
  });
  return sums;
}

// The voxel of `label` that is nearest to its centre, which need not lie within it.
VoxelIndex centre_of(const torch::Tensor& map, std::int64_t label, const LabelSum& sum,
                     const Geometry& grid) {
  VoxelIndex nearest = {0, 0, 0};
  double least = std::numeric_limits<double>::infinity();
  visit_labels(map, [&](std::int64_t x, std::int64_t y, std::int64_t z, std::int64_t found) {
    if (found != label) return;
    const VoxelIndex index = {x, y, z};
    double distance = 0;
    for (std::size_t a = 0; a < 3; ++a) {
      const double apart =
          static_cast<double>(index[a]) - sum.index[a] / static_cast<double>(sum.voxels);
      distance += apart * apart * grid.spacing_mm[a] * grid.spacing_mm[a];
    }
    if (distance < least) {
      least = distance;
      nearest = index;
    }
  });
  return nearest;
}

// Row after row as `kind` shows it, of voxels [D, H, W].
torch::Tensor plane_of(const torch::Tensor& voxels, const PlaneKind& kind, const AxisMap& axes,
                       const VoxelIndex& through) {
  const auto source = [&](int axis) { return axes.source_axis[static_cast<std::size_t>(axis)]; };
  const int across = source(kind.across), columns = source(kind.columns), rows = source(kind.rows);
  torch::Tensor plane =
      voxels.select(2 - across, through[static_cast<std::size_t>(across)]);  // z, y, x less one
  if (columns > rows) plane = plane.t();
  std::vector<std::int64_t> turned;
  if (axes.flip[static_cast<std::size_t>(kind.rows)] != kind.rows_turned) turned.push_back(0);
  if (axes.flip[static_cast<std::size_t>(kind.columns)]) turned.push_back(1);
  return turned.empty() ? plane : plane.flip(turned);
}

template <typename T>
std::vector<T> values_of_plane(const torch::Tensor& plane, torch::ScalarType type) {
  const torch::Tensor values = plane.to(type).contiguous();
  const T* first = values.const_data_ptr<T>();
  return {first, first + values.numel()};
}

std::vector<std::int32_t> labels_of_plane(const torch::Tensor& plane) {
  auto labels = values_of_plane<std::int32_t>(plane, torch::kInt32);
  for (std::int32_t& label : labels) label = std::max(label, 0);
  return labels;
}

// Degrees between the grid's axes and the canonical ones they stand for, the largest.
double obliqueness(const Geometry& grid, const AxisMap& axes) {
  double largest = 0;
  for (int a = 0; a < 3; ++a) {
    const int source = axes.source_axis[static_cast<std::size_t>(a)];
    const double along = std::abs(grid.direction[static_cast<std::size_t>(3 * a + source)]);
    largest = std::max(largest, std::acos(std::min(along, 1.0)) * 180 / std::numbers::pi);
  }
  return largest;
}

// "R, A, H": where the file's axes lead.
std::string leads_to(const AxisMap& axes) {
  constexpr std::array<std::array<const char*, 2>, 3> kSides = {
      {{"L", "R"}, {"P", "A"}, {"H", "F"}}};
  const AxisMap from_file = inverse(axes);
  std::string text;
  for (std::size_t a = 0; a < 3; ++a)
    text +=
        (a == 0 ? "" : ", ") +
        std::string(
            kSides[static_cast<std::size_t>(from_file.source_axis[a])][from_file.flip[a] ? 1 : 0]);
  return text;
}

class PlaneCutter {
 public:
  explicit PlaneCutter(const CaseMaps& maps)
      : maps_(maps), grid_(maps.geometry), axes_(canonical_axes(maps.geometry)) {
    const Shape3 sizes = grid_.size.dhw();
    const auto check = [&](const torch::Tensor& voxels) {
      if (!voxels.defined() || voxels.sizes() == at::IntArrayRef(sizes)) return;
      throw Error("no picture of " + maps_.name + ": found a map of another size than " +
                  grid_.describe());
    };
    if (grid_.voxels() < 1) throw Error("no picture of " + maps_.name + ": it has no voxels");
    check(maps.result);
    check(maps.reference);
    if (maps.image != nullptr) check(maps.image->voxels);
  }

  CasePicture cut() {
    find_labels();
    CasePicture picture{.title = maps_.name, .notes = notes()};
    for (const PlaneKind* kind : shown_planes()) picture.planes.push_back(plane(*kind));
    for (const std::int64_t label : labels_) {
      const auto name = maps_.names.find(label);
      picture.labels[label] = name == maps_.names.end() ? std::to_string(label) : name->second;
    }
    return picture;
  }

 private:
  // Which there are, and through which voxel the planes go.
  void find_labels() {
    for (int a = 0; a < 3; ++a)
      through_[static_cast<std::size_t>(a)] = grid_.size[static_cast<std::size_t>(a)] / 2;
    bool found = false;
    for (const torch::Tensor* map : {&maps_.reference, &maps_.result}) {
      if (!map->defined()) continue;
      const auto sums = sums_of_labels(*map);
      for (const auto& [label, sum] : sums) labels_.insert(label);
      if (found || sums.empty()) continue;
      found = true;
      const auto largest = std::max_element(
          sums.begin(), sums.end(),
          [](const auto& a, const auto& b) { return a.second.voxels < b.second.voxels; });
      through_ = centre_of(*map, largest->first, largest->second, grid_);
    }
  }

  std::vector<std::string> notes() const {
    std::vector<std::string> notes = {grid_.describe() + ", axes to " + leads_to(axes_)};
    if (const double degrees = obliqueness(grid_, axes_); degrees >= kObliqueDegrees)
      notes.back() +=
          ", oblique: up to " + fixed(degrees, 1) + " degrees off the sides marked here";
    std::string about_image;
    if (maps_.image != nullptr)
      for (const std::string& note : maps_.image->notes)
        about_image += (about_image.empty() ? "" : "; ") + note;
    if (!about_image.empty()) notes.push_back(about_image);
    notes.insert(notes.end(), maps_.notes.begin(), maps_.notes.end());
    return notes;
  }

  std::int64_t size_along(int canonical) const {
    return grid_
        .size[static_cast<std::size_t>(axes_.source_axis[static_cast<std::size_t>(canonical)])];
  }

  std::vector<const PlaneKind*> shown_planes() const {
    std::vector<const PlaneKind*> all;
    const PlaneKind* largest = kPlanes.data();
    const auto area = [&](const PlaneKind& kind) {
      return size_along(kind.columns) * size_along(kind.rows);
    };
    for (const PlaneKind& kind : kPlanes) {
      all.push_back(&kind);
      if (area(kind) > area(*largest)) largest = &kind;
    }
    const bool flat = std::any_of(grid_.size.begin(), grid_.size.end(),
                                  [](std::int64_t size) { return size == 1; });
    return flat ? std::vector{largest} : all;
  }

  PicturePlane plane(const PlaneKind& kind) const {
    const auto source = [&](int axis) {
      return static_cast<std::size_t>(axes_.source_axis[static_cast<std::size_t>(axis)]);
    };
    const std::size_t across = source(kind.across);
    PicturePlane plane{.title = std::string(kind.name) + ", " + "ijk"[across] + " = " +
                                std::to_string(through_[across]),
                       .sides = kind.sides,
                       .columns = static_cast<int>(size_along(kind.columns)),
                       .rows = static_cast<int>(size_along(kind.rows)),
                       .column_mm = grid_.spacing_mm[source(kind.columns)],
                       .row_mm = grid_.spacing_mm[source(kind.rows)]};
    const auto cut = [&](const torch::Tensor& voxels) {
      return plane_of(voxels, kind, axes_, through_);
    };
    if (maps_.image != nullptr)
      plane.grey = values_of_plane<std::uint8_t>(cut(maps_.image->voxels), torch::kUInt8);
    if (maps_.result.defined()) plane.result = labels_of_plane(cut(maps_.result));
    if (maps_.reference.defined()) plane.reference = labels_of_plane(cut(maps_.reference));
    return plane;
  }

  const CaseMaps& maps_;
  const Geometry& grid_;
  const AxisMap axes_;
  VoxelIndex through_ = {0, 0, 0};
  std::set<std::int64_t> labels_;
};

}  // namespace

CasePicture case_picture_of(const CaseMaps& maps) { return PlaneCutter(maps).cut(); }

std::string case_png(const CaseMaps& maps) { return case_picture_png(case_picture_of(maps)); }

}  // namespace lamp
