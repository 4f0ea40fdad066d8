// Positions decide, not file names or instance numbers, which scanners and archives renumber.
#include "lamp/data/dicom_series.h"

#include <algorithm>
#include <cmath>
#include <set>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "lamp/base/errors.h"
#include "lamp/base/text.h"
#include "lamp/data/dicom_slice.h"
#include "lamp/data/grid_check.h"
#include "lamp/data/itk_io.h"
#include "lamp/data/matrix3.h"

namespace lamp {
namespace fs = std::filesystem;
namespace {

constexpr double kUneven = 0.01;  // of the usual gap

[[noreturn]] void refuse(const fs::path& path, const std::string& detail) {
  throw InputError("cannot read", path.string(), detail);
}

std::vector<DicomSlice> slices_in(const fs::path& folder) {
  std::error_code error;
  std::vector<fs::path> files;
  for (const auto& entry : fs::directory_iterator(folder, error)) {
    if (entry.is_regular_file(error) && entry.path().filename() != "DICOMDIR" &&
        is_dicom_file(entry.path()))
      files.push_back(entry.path());
  }
  if (error) refuse(folder, error.message());
  if (files.empty()) refuse(folder, "no DICOM file in the folder; name a folder of slices");
  std::sort(files.begin(), files.end());
  std::vector<DicomSlice> slices;
  for (const fs::path& file : files) slices.push_back(read_dicom_slice(file));
  return slices;
}

void check_one_series(const std::vector<DicomSlice>& slices, const fs::path& folder) {
  std::set<std::string> series;
  for (const DicomSlice& slice : slices) series.insert(slice.series_uid);
  if (series.size() == 1) return;
  std::string names;
  for (const std::string& uid : series) names += (names.empty() ? "" : ", ") + uid;
  refuse(folder, std::to_string(series.size()) + " series in the folder (" + names +
                     "), expected one; move each to a folder of its own");
}

void check_same_plane(const DicomSlice& first, const DicomSlice& slice) {
  Geometry a = first.plane, b = slice.plane;
  a.origin_mm = b.origin_mm = {0, 0, 0};
  if (corner_distance_voxels(a, b) <= kSameGridVoxels) return;
  refuse(slice.file, "size, spacing or orientation differ from " + first.file.filename().string() +
                         " (a localizer?); move it to a folder of its own");
}

void check_gaps(const std::vector<DicomSlice>& slices, const fs::path& folder) {
  std::vector<double> gaps;
  for (std::size_t k = 1; k < slices.size(); ++k)
    gaps.push_back(slices[k].position_mm - slices[k - 1].position_mm);
  std::vector<double> sorted = gaps;
  std::sort(sorted.begin(), sorted.end());
  const double usual = sorted[sorted.size() / 2];
  for (std::size_t k = 0; k < gaps.size(); ++k) {
    if (std::abs(gaps[k] - usual) <= kUneven * usual) continue;
    refuse(folder, "slices " + slices[k].file.filename().string() + " and " +
                       slices[k + 1].file.filename().string() + " are " + fixed(gaps[k], 3) +
                       " mm apart, the others " + fixed(usual, 3) +
                       (gaps[k] > usual ? " mm: a slice is missing" : " mm: a slice too many") +
                       "; export the series again");
  }
}

// From the first slice to the last. A tilted gantry shows as shear.
Geometry stacked(const std::vector<DicomSlice>& slices) {
  Geometry grid = slices.front().plane;
  grid.size[2] = static_cast<std::int64_t>(slices.size());
  Vector3 step;
  for (int r = 0; r < 3; ++r) {
    step[r] = (slices.back().plane.origin_mm[r] - grid.origin_mm[r]) /
              static_cast<double>(slices.size() - 1);
  }
  grid.spacing_mm[2] = norm(step);
  for (double& value : step) value /= grid.spacing_mm[2];
  set_column(grid.direction, 2, step);
  return grid;
}

// Even gaps along the normal still allow a slice that is shifted within its plane.
void check_line(const std::vector<DicomSlice>& slices, const Geometry& grid) {
  for (std::size_t k = 0; k < slices.size(); ++k) {
    const Vector3 expected = grid.point({0, 0, static_cast<double>(k)});
    const Vector3& found = slices[k].plane.origin_mm;
    const double off =
        norm({found[0] - expected[0], found[1] - expected[1], found[2] - expected[2]});
    if (off <= 0.1 * std::min({grid.spacing_mm[0], grid.spacing_mm[1], grid.spacing_mm[2]}))
      continue;
    refuse(slices[k].file, "lies " + fixed(off, 3) +
                               " mm off the line of the other slices; export the series again");
  }
}

std::pair<std::vector<DicomSlice>, Geometry> read_stack(const fs::path& folder,
                                                        const ReadOptions& options) {
  std::vector<DicomSlice> slices = slices_in(folder);
  check_one_series(slices, folder);
  for (const DicomSlice& slice : slices) check_same_plane(slices.front(), slice);
  std::stable_sort(slices.begin(), slices.end(), [](const DicomSlice& a, const DicomSlice& b) {
    return a.position_mm < b.position_mm;
  });
  if (slices.size() < 2) refuse(folder, "one slice, expected 2 or more");
  check_gaps(slices, folder);
  Geometry grid = stacked(slices);
  check_line(slices, grid);
  check_grid(grid, options, folder.string());
  return {std::move(slices), grid};
}

}  // namespace

RawVolume read_dicom(const fs::path& folder, const ReadOptions& options) {
  const auto [slices, grid] = read_stack(folder, options);
  RawVolume raw{.geometry = grid, .type = VoxelType::kFloat32};
  for (const DicomSlice& slice : slices) raw.bytes += decode_dicom(slice.file, slice.plane);
  return raw;
}

VolumeHeader read_dicom_header(const fs::path& folder, const ReadOptions& options) {
  return {read_stack(folder, options).second, 1};
}

}  // namespace lamp
