// From a file's own grid to the grid and values the network sees, and the way back: axes to LPS,
// spacing, window.
#pragma once

#include <torch/types.h>

#include <array>
#include <memory>
#include <optional>

#include "lamp/base/json.h"
#include "lamp/formats/volume_io.h"
#include "lamp/volume/orientation.h"
#include "lamp/volume/volume.h"

namespace lamp {

// The configuration's "data".
struct DataConfig {
  std::optional<std::array<double, 3>>
      spacing_mm;  // x, y, z of the network's axes; none ("keep") = as in the file
  std::optional<std::array<double, 2>>
      window;          // values clipped to it and mapped to [0, 1]; none = left as they are
  bool to_lps = true;  // "orientation": "LPS" (identity direction) or "keep"
  bool resample_sheared = false;  // "shear": "refuse" or "resample" onto an orthonormal grid
  bool cubic = false;             // "interpolation" of images: "linear" or "cubic"
  NiftiForm nifti_form = NiftiForm::kRefuse;  // "nifti_form": "refuse", "sform" or "qform"

  ReadOptions read_options() const {
    return {.allow_shear = resample_sheared, .nifti_form = nifti_form};
  }
};

DataConfig parse_data_config(const Json& json);
Json to_json(const DataConfig& config);

// How the network's grid follows from the file's grid, step by step.
struct GridPath {
  Geometry input;                                 // the file's grid
  AxisMap axes;                                   // its axes in the network's order
  Geometry canonical;                             // input after reordering: the same voxels
  Geometry network;                               // canonical after resampling
  std::shared_ptr<const NiftiSpace> nifti_space;  // the input file's own orientation fields

  bool resampled() const;
};

struct PreparedImage {
  torch::Tensor voxels;  // [C, D, H, W] float32 on the network's grid
  GridPath path;
};

// Counts the ways in which images and labels have been prepared: raise it with every change of
// their values, so that nothing prepared in another way is used again (case_cache.h).
inline constexpr int kPreparingVersion = 3;

GridPath plan_grid(const Volume& volume, const DataConfig& config);
// place_image, then the window.
PreparedImage prepare_image(const Volume& image, const DataConfig& config);
// On the network's grid, with the values of the file; not always contiguous. Throws DoesNotFit,
// before any memory is taken, for a grid so fine that the image would take more there than
// `memory_bytes`, or than there is.
PreparedImage place_image(const Volume& image, const DataConfig& config,
                          std::optional<std::int64_t> memory_bytes = {});
// The step of prepare_image after place_image.
void apply_window(PreparedImage& image, const DataConfig& config);
// Clips to [low, high] and maps to [0, 1], each voxel alone, so that cutting before or after it
// gives the same bits. `values` are left alone.
torch::Tensor apply_window(const torch::Tensor& values, const std::array<double, 2>& window);
// [D, H, W]: the labels brought to the network's grid. No new values appear, except kNoScan where
// that grid goes beyond the scan (resample.h); without such voxels the type is kept.
torch::Tensor prepare_label(const Volume& label, const GridPath& path);

// Class scores [C, D, H, W] on the network's grid -> the label map [1, D, H, W] (uint8, int16
// beyond 256 classes) on the file's grid, with the geometry of the file. Interpolates scores in
// slabs; the classes never exist at full size together.
Volume labels_on_input_grid(const torch::Tensor& scores, const GridPath& path);
// Softmax probabilities [C, D, H, W] float32 on the file's grid. The scores are interpolated, the
// softmax comes after. `classes`: the map [1, D, H, W] of class numbers on the file's grid that is
// handed out with them, labels_on_input_grid's or that one cleaned. It is the argmax of what is
// returned, to the last voxel: probabilities that rounding made equal are told apart by the last
// bit, and where cleaning took a voxel away, its two classes exchange their probabilities.
Volume probabilities_on_input_grid(const torch::Tensor& scores, const GridPath& path,
                                   const torch::Tensor& classes);

}  // namespace lamp
