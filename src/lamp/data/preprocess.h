// From a file's own grid to the grid and values the network sees, and the way back: axes to LPS,
// spacing, window.
#pragma once

#include <torch/types.h>

#include <array>
#include <memory>
#include <optional>
#include <string>

#include "lamp/base/json.h"
#include "lamp/data/orientation.h"
#include "lamp/data/volume.h"
#include "lamp/data/volume_io.h"

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

  ReadOptions read_options() const { return {.allow_shear = resample_sheared}; }
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

GridPath plan_grid(const Volume& volume, const DataConfig& config);
PreparedImage prepare_image(const Volume& image, const DataConfig& config);
// [D, H, W], dtype kept: the labels brought to the network's grid, no new values appear.
torch::Tensor prepare_label(const Volume& label, const GridPath& path);

// Class scores [C, D, H, W] on the network's grid -> the label map [1, D, H, W] (uint8, int16
// beyond 256 classes) on the file's grid, with the geometry of the file. Interpolates scores in
// slabs; the classes never exist at full size together.
Volume labels_on_input_grid(const torch::Tensor& scores, const GridPath& path);
// Softmax probabilities [C, D, H, W] float32 on the file's grid (linear interpolation, after the
// softmax).
Volume probabilities_on_input_grid(const torch::Tensor& scores, const GridPath& path);

}  // namespace lamp
