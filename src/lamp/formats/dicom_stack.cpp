// How even the positions are is the least number h such that all lie within h of some evenly spaced
// ones. Positions rounded to r lie within r / 2. Where one of n slices is missing, h is at least a
// third (n = 4; a quarter for n = 3) of a gap less r / 2, so that the two cannot be confused as
// long as r is below a quarter of a gap. Beyond that, the numbers of the images must attest that
// none is missing, and the header how far apart they are.
#include "lamp/formats/dicom_stack.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "lamp/base/errors.h"
#include "lamp/base/log.h"
#include "lamp/base/text.h"
#include "lamp/formats/dicom_phases.h"
#include "lamp/volume/matrix3.h"

namespace lamp {
namespace fs = std::filesystem;
namespace {

constexpr double kUneven = 0.01;         // of the usual gap
constexpr double kClearRounding = 0.24;  // of a gap: below a quarter, see above

void check_same_plane(const DicomSlice& first, const DicomSlice& slice) {
  Geometry a = first.plane, b = slice.plane;
  a.origin_mm = b.origin_mm = {0, 0, 0};
  if (corner_distance_voxels(a, b) <= kSameGridVoxels) return;
  cannot_read(slice.file, {.found = "size, spacing or orientation differ from " +
                                    first.file.filename().string() + " (a localizer?)",
                           .fix = "move it to a folder of its own"});
}

// Beside rescaled slices, the stored values of others mean something else.
void check_rescaled(const DicomSlice& first, const DicomSlice& slice) {
  if (first.rescaled == slice.rescaled) return;
  const std::string other = first.file.filename().string();
  cannot_read(
      slice.file,
      {.found = slice.rescaled ? "it has a RescaleSlope or RescaleIntercept, " + other + " none"
                               : "it has no RescaleSlope or RescaleIntercept, " + other + " has",
       .fix = "export the series again"});
}

// Some anonymizers give every file identifiers of its own, so that this alone refuses nothing.
void warn_of_mixture(const std::vector<DicomSlice>& slices, const fs::path& folder) {
  const auto warn = [&](std::string DicomSlice::*member, const std::string& name) {
    const DicomSlice& first = slices.front();
    for (const DicomSlice& slice : slices) {
      if (slice.*member == first.*member) continue;
      // Their values may name a person, and logs are passed on.
      return log_warning_once(name + " differs within one series, between " +
                              first.file.filename().string() + " and " +
                              slice.file.filename().string() + ": " + folder.string());
    }
  };
  warn(&DicomSlice::patient, "PatientID");
  warn(&DicomSlice::frame_of_reference, "FrameOfReferenceUID");
}

std::string value_or_none(const std::string& value) { return value.empty() ? "none" : value; }

// One image at each place, but of several contrasts: no two of them need lie at one place to be
// parts of different volumes. (Times and the like differ from slice to slice in any series.)
void warn_of_contrasts(const std::vector<DicomSlice>& slices, const fs::path& folder) {
  const DicomSlice& first = slices.front();
  for (std::size_t element = 0; element < first.phase.size(); ++element) {
    const std::string& name = first.phase[element].first;
    if (name != "TemporalPositionIdentifier" && name != "EchoNumbers" &&
        name != "ConvolutionKernel" && name != "DiffusionBValue")
      continue;
    for (const DicomSlice& slice : slices) {
      const std::string& found = slice.phase[element].second;
      const std::string& expected = first.phase[element].second;
      if (found == expected) continue;
      log_warning_once(name + " differs within one series, " + value_or_none(expected) + " in " +
                       first.file.filename().string() + " and " + value_or_none(found) + " in " +
                       slice.file.filename().string() +
                       ", so it may be several volumes: " + folder.string());
      break;
    }
  }
}

// To what the coordinates along each axis are rounded; 0 where they do not change, and where they
// have more digits than rounding matters.
Vector3 rounding_by_axis(const std::vector<DicomSlice>& slices) {
  Vector3 rounding = {0, 0, 0};
  for (int axis = 0; axis < 3; ++axis) {
    int decimals = 0;
    bool varies = false;
    for (const DicomSlice& slice : slices) {
      decimals = std::max(decimals, slice.decimals[axis]);
      varies |= slice.plane.origin_mm[axis] != slices.front().plane.origin_mm[axis];
    }
    if (varies && decimals < 5) rounding[axis] = std::pow(10.0, -decimals);
  }
  return rounding;
}

double rounding_along(const Vector3& normal, const Vector3& by_axis) {
  double sum = 0;
  for (int axis = 0; axis < 3; ++axis) sum += std::abs(normal[axis]) * by_axis[axis];
  return sum;
}

std::vector<double> positions_of(const std::vector<DicomSlice>& slices) {
  std::vector<double> positions;
  for (const DicomSlice& slice : slices) positions.push_back(slice.position_mm);
  return positions;
}

// Half the width of the strip of slope `gap` that holds all positions.
double deviation(const std::vector<double>& positions, double gap) {
  double low = positions.front(), high = low;
  for (std::size_t k = 0; k < positions.size(); ++k) {
    const double off = positions[k] - gap * static_cast<double>(k);
    low = std::min(low, off);
    high = std::max(high, off);
  }
  return (high - low) / 2;
}

// The gap of the narrowest strip: the width is convex in the slope.
double even_gap(const std::vector<double>& positions) {
  const double mean =
      (positions.back() - positions.front()) / static_cast<double>(positions.size() - 1);
  double low = 0, high = 2 * mean;
  for (int round = 0; round < 100; ++round) {
    const double left = low + (high - low) / 3, right = high - (high - low) / 3;
    if (deviation(positions, left) <= deviation(positions, right)) {
      high = right;
    } else {
      low = left;
    }
  }
  return (low + high) / 2;
}

double usual_gap(const std::vector<double>& positions) {
  std::vector<double> gaps;
  for (std::size_t k = 1; k < positions.size(); ++k)
    gaps.push_back(positions[k] - positions[k - 1]);
  std::sort(gaps.begin(), gaps.end());
  return gaps[gaps.size() / 2];
}

bool is_even(const std::vector<double>& positions) {
  const double usual = usual_gap(positions);
  if (usual <= kOnePlaceMm) return false;
  for (std::size_t k = 1; k < positions.size(); ++k)
    if (std::abs(positions[k] - positions[k - 1] - usual) > kUneven * usual) return false;
  return true;
}

bool within_rounding(const std::vector<double>& positions, double gap, double rounding) {
  return deviation(positions, gap) <= rounding / 2 * (1 + 1e-6) + 1e-6;
}

// The same of the gap that the header declares. Where that is the rounding or a whole part of it,
// a missing slice lets the positions deviate by just half the rounding, all others by less.
bool fits_declared(const std::vector<double>& positions, double gap, double rounding) {
  const double part = rounding / gap;
  if (std::abs(part - std::round(part)) > 1e-6) return within_rounding(positions, gap, rounding);
  return deviation(positions, gap) < rounding / 2 * (1 - 1e-6);
}

// Rounding changes a gap by less than it rounds to. Only where the header tells the usual gap (it
// may say a thickness alone) is a wider one a fault of the series.
bool lacks_slice(const std::vector<double>& positions, double gap, double rounding) {
  const double widest = gap + rounding * (1 - 1e-6);
  if (usual_gap(positions) >= widest) return false;
  for (std::size_t k = 1; k < positions.size(); ++k)
    if (positions[k] - positions[k - 1] >= widest) return true;
  return false;
}

// Are the images numbered without a gap, in the order of their positions or against it?
bool numbered_through(std::vector<DicomSlice> slices) {
  for (const DicomSlice& slice : slices)
    if (!slice.instance_number) return false;
  std::sort(slices.begin(), slices.end(), [](const DicomSlice& a, const DicomSlice& b) {
    return *a.instance_number < *b.instance_number;
  });
  bool rising = true, falling = true;
  for (std::size_t k = 1; k < slices.size(); ++k) {
    if (*slices[k].instance_number != *slices[k - 1].instance_number + 1) return false;
    rising &= slices[k].position_mm >= slices[k - 1].position_mm;
    falling &= slices[k].position_mm <= slices[k - 1].position_mm;
  }
  return rising || falling;
}

// What the header says of the distance between slices, if all slices agree.
double declared_gap(const std::vector<DicomSlice>& slices) {
  const auto common = [&](double DicomSlice::*member) {
    for (const DicomSlice& slice : slices)
      if (slice.*member != slices.front().*member) return 0.0;
    return slices.front().*member;
  };
  const double spacing = common(&DicomSlice::spacing_mm);
  return spacing > 0 ? spacing : common(&DicomSlice::thickness_mm);
}

// Slices whose rounded positions are equal come in the order of their numbers.
void sort_numbered(std::vector<DicomSlice>& slices) {
  const auto number = [](const DicomSlice& slice) { return slice.instance_number.value_or(0); };
  const int sign = number(slices.front()) <= number(slices.back()) ? 1 : -1;
  std::stable_sort(slices.begin(), slices.end(), [&](const DicomSlice& a, const DicomSlice& b) {
    return a.position_mm != b.position_mm ? a.position_mm < b.position_mm
                                          : sign * number(a) < sign * number(b);
  });
}

[[noreturn]] void refuse_gap(const std::vector<DicomSlice>& slices, double usual,
                             const fs::path& folder) {
  const std::vector<double> positions = positions_of(slices);
  std::size_t worst = 1;
  const auto off = [&](std::size_t k) { return std::abs(positions[k] - positions[k - 1] - usual); };
  for (std::size_t k = 2; k < slices.size(); ++k)
    if (off(k) > off(worst)) worst = k;
  const double gap = positions[worst] - positions[worst - 1];
  cannot_read(folder, {.found = "slices " + slices[worst - 1].file.filename().string() + " and " +
                                slices[worst].file.filename().string() + " are " + fixed(gap, 3) +
                                " mm apart, the others " + fixed(usual, 3) +
                                (gap > usual ? " mm: a slice is missing" : " mm: a slice too many"),
                       .fix = "export the series again"});
}

// Positions rounded so far that they prove nothing. Returns the gap that the header declares.
double gap_of_coarse_positions(const std::vector<DicomSlice>& slices, double rounding,
                               const fs::path& folder) {
  const std::vector<double> positions = positions_of(slices);
  const double declared = declared_gap(slices), even = even_gap(positions);
  if (declared > 0 && lacks_slice(positions, declared, rounding))
    refuse_gap(slices, declared, folder);
  const std::string found = "its slices' positions are rounded to " + shortest(rounding) +
                            " mm, too coarse for slices about " + fixed(even, 2) + " mm apart";
  if (declared <= 0 || !fits_declared(positions, declared, rounding) || !numbered_through(slices))
    cannot_read(folder, {.found = found + ", and the header does not attest that none is missing "
                                          "(InstanceNumber, SpacingBetweenSlices)",
                         .fix = "export the series again"});
  log_warning_once(found + "; taken as " + shortest(declared) +
                   " mm apart, as the header says: " + folder.string());
  return declared;
}

// The gap between the sorted slices, or a refusal.
double checked_gap(const std::vector<DicomSlice>& slices, double rounding, const fs::path& folder) {
  const std::vector<double> positions = positions_of(slices);
  const double span = positions.back() - positions.front();
  const double mean = span / static_cast<double>(slices.size() - 1);
  if (is_even(positions)) return mean;
  refuse_phases(slices, folder);
  const double even = even_gap(positions);
  if (rounding > 0 && even > kOnePlaceMm && within_rounding(positions, even, rounding)) {
    if (rounding > kClearRounding * even) return gap_of_coarse_positions(slices, rounding, folder);
    const double declared = declared_gap(slices);
    return declared > 0 && within_rounding(positions, declared, rounding) ? declared : even;
  }
  refuse_several_per_place(slices, folder);
  refuse_gap(slices, usual_gap(positions), folder);
}

// From the first slice on. A tilted gantry shows as shear, unless rounding explains it.
Geometry stacked(const std::vector<DicomSlice>& slices, double gap, const Vector3& rounding) {
  Geometry grid = slices.front().plane;
  const auto count = static_cast<double>(slices.size() - 1);
  const Vector3 normal = column(grid.direction, 2);
  const double span = slices.back().position_mm - slices.front().position_mm;
  Vector3 step, aside;
  for (int r = 0; r < 3; ++r) {
    const double way = slices.back().plane.origin_mm[r] - grid.origin_mm[r];
    step[r] = way / count;
    aside[r] = way - span * normal[r];
  }
  const bool straight = norm(rounding) > 0 && norm(aside) <= norm(rounding);
  const double mean = span / count;
  for (int r = 0; r < 3; ++r) step[r] = straight ? normal[r] * gap : step[r] * (gap / mean);
  grid.size[2] = static_cast<std::int64_t>(slices.size());
  grid.spacing_mm[2] = norm(step);
  for (double& value : step) value /= grid.spacing_mm[2];
  set_column(grid.direction, 2, step);
  return grid;
}

// Even gaps along the normal still allow a slice that is shifted within its plane.
void check_line(const std::vector<DicomSlice>& slices, const Geometry& grid,
                const Vector3& rounding) {
  const double smallest = std::min({grid.spacing_mm[0], grid.spacing_mm[1], grid.spacing_mm[2]});
  const double allowed = std::max(0.1 * smallest, norm(rounding) * (1 + 1e-6));
  for (std::size_t k = 0; k < slices.size(); ++k) {
    const Vector3 expected = grid.point({0, 0, static_cast<double>(k)});
    const Vector3& found = slices[k].plane.origin_mm;
    const double off =
        norm({found[0] - expected[0], found[1] - expected[1], found[2] - expected[2]});
    if (off <= allowed) continue;
    cannot_read(slices[k].file,
                {.found = "lies " + fixed(off, 3) + " mm off the line of the other slices",
                 .fix = "export the series again"});
  }
}

}  // namespace

Geometry stack_slices(std::vector<DicomSlice>& slices, const fs::path& folder) {
  for (const DicomSlice& slice : slices) {
    check_same_plane(slices.front(), slice);
    check_rescaled(slices.front(), slice);
  }
  warn_of_mixture(slices, folder);
  if (slices.size() < 2)
    cannot_read(folder, {.found = "one slice",
                         .expected = "2 or more",
                         .fix = "put the slices of the series in one folder"});
  std::stable_sort(slices.begin(), slices.end(), [](const DicomSlice& a, const DicomSlice& b) {
    return a.position_mm < b.position_mm;
  });
  const Vector3 by_axis = rounding_by_axis(slices);
  const double rounding = rounding_along(column(slices.front().plane.direction, 2), by_axis);
  refuse_copies(slices);
  const double gap = checked_gap(slices, rounding, folder);
  const bool rounded = !is_even(positions_of(slices));
  if (rounded) sort_numbered(slices);
  const Geometry grid = stacked(slices, gap, rounded ? by_axis : Vector3{0, 0, 0});
  check_line(slices, grid, rounded ? by_axis : Vector3{0, 0, 0});
  warn_of_contrasts(slices, folder);
  return grid;
}

}  // namespace lamp
