// A 3-D image with its place in the patient. Triples that people read are x, y, z; tensors are [C,
// D, H, W] with D, H, W = z, y, x. Physical coordinates are millimetres in LPS, as in DICOM and
// ITK: x to the patient's left, y to the back, z to the head.
#pragma once

#include <torch/types.h>

#include <array>
#include <cstdint>
#include <memory>
#include <string>

#include "lamp/base/size3.h"

namespace lamp {

struct NiftiSpace;  // nifti.h: a NIfTI file's own orientation fields, to be written back bit for
                    // bit

// Where a voxel grid lies: point(i, j, k) = origin + direction * diag(spacing) * (i, j, k).
struct Geometry {
  Size3 size = {0, 0, 0};  // voxels along x, y, z of the grid
  std::array<double, 3> spacing_mm = {1, 1, 1};
  std::array<double, 3> origin_mm = {0, 0, 0};  // centre of the first voxel
  std::array<double, 9> direction = {
      1, 0, 0, 0, 1, 0, 0, 0, 1};  // row-major; column a is the unit vector of grid axis a

  std::int64_t voxels() const { return size.voxels(); }
  double voxel_volume_mm3() const;  // |det|, right for sheared grids too
  std::array<double, 3> point(const std::array<double, 3>& index) const;
  // "64x64x40 voxels of 1x1x2.5 mm".
  std::string describe() const;
};

// The largest distance, over the eight corners of grid `a`, between the same index in both grids,
// measured in voxels of `a` (each axis by its own spacing); infinity if the sizes differ.
double corner_distance_voxels(const Geometry& a, const Geometry& b);

// Grids further apart than this are different grids (image and label must agree to 0.01
// voxel).
inline constexpr double kSameGridVoxels = 0.01;

// What to do with a NIfTI file whose ways to place its grid (sform, qform and pixdim) contradict
// each other: refuse it, or believe the one or the other.
enum class NiftiForm { kRefuse, kSform, kQform };
// "refuse", "sform" or "qform", and back (UsageError for anything else).
const char* name_of(NiftiForm form);
NiftiForm parse_nifti_form(const std::string& name);

// What a reader may let pass.
struct ReadOptions {
  bool allow_shear = false;  // keep a sheared grid as it is instead of refusing it
  bool refuse_nan = true;    // refuse images with NaN or infinite voxels
  NiftiForm nifti_form = NiftiForm::kRefuse;
  // Which of several DICOM series in a folder: a SeriesInstanceUID, or the number in the list that
  // the refusal shows.
  std::string dicom_series = {};
  std::optional<std::int64_t> memory_bytes = {};  // that reading may take; none = what is available
};

// What a file says before its voxels are read.
struct VolumeHeader {
  Geometry geometry;
  std::int64_t channels = 1;
};

struct Volume {
  Geometry geometry;
  torch::Tensor voxels;  // [C, D, H, W], CPU, contiguous
  std::shared_ptr<const NiftiSpace>
      nifti_space;  // set by the NIfTI reader; null after any change of the grid
};

}  // namespace lamp
