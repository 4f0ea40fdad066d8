// The same image on another grid. Grids whose axes point the same way are resampled axis by axis;
// others, such as a sheared grid and its cover, point by point. Beyond the outermost voxels the
// border value holds.
#pragma once

#include <torch/types.h>

#include <array>

#include "lamp/volume/volume.h"

namespace lamp {

enum class Interpolation {
  kLinear,
  kCubic,  // Catmull-Rom; linear, with a warning, between grids that are turned or sheared against
           // each other
  kLabel   // the label whose linearly interpolated mask is largest, the lower one of equals: no new
           // value appears
};

// The grid of about `spacing_mm` with the same extent from outer voxel edge to outer voxel edge.
// Sizes are rounded (to 1 at least), so the spacing of the result is extent / size: the asked one
// where it divides the extent. Throws DoesNotFit for more voxels than any memory holds, as the next
// one does.
Geometry with_spacing(const Geometry& grid, std::array<double, 3> spacing_mm);

// The smallest grid of the same spacing that is orthonormal, nearest in direction, and covers every
// voxel of a sheared `grid`. A grid that is orthonormal is returned as it is.
Geometry orthonormal_cover(const Geometry& grid);

// [C, D, H, W] on grid `from` to [C, D, H, W] on grid `to` and the CPU: float32, or the input's
// integer type for kLabel. Works in slabs along z; besides input and output it holds some 100 MB,
// for kLabel also one channel of the output and 4 bytes for each of its voxels, and between grids
// that are turned against each other a channel of the input as float32.
torch::Tensor resample(const torch::Tensor& voxels, const Geometry& from, const Geometry& to,
                       Interpolation interpolation);

// Labels [D, H, W] that lie on grid `to` and came from grid `from`: kNoScan where a voxel's centre
// lies outside of `from`, since there a label is only the border's, repeated (uint8 becomes int16).
// Where there is no such voxel, as after with_spacing, the labels themselves.
torch::Tensor mark_beyond(const torch::Tensor& labels, const Geometry& from, const Geometry& to);

// The class of the highest score, scores being interpolated linearly: [C, D, H, W] of any float
// type and device to [D, H, W] on the CPU, uint8 (int16 beyond 255 classes). The lower class of
// equals. The classes never exist together at the size of `to`.
torch::Tensor resample_argmax(const torch::Tensor& scores, const Geometry& from,
                              const Geometry& to);

// The softmax over the interpolated scores: [C, D, H, W] float32 on the CPU. The classes of highest
// probability are resample_argmax's, but for classes whose probabilities are rounded to equals.
torch::Tensor resample_softmax(const torch::Tensor& scores, const Geometry& from,
                               const Geometry& to);

}  // namespace lamp
