// A volume too large for one forward pass, covered by overlapping windows whose scores are blended.
// Gives what MONAI's sliding_window_inference gives, so that models and papers can be compared,
// except where a window is longer than the volume (MONAI adds zeros on both sides).
#pragma once

#include <torch/types.h>

#include <cstdint>
#include <functional>
#include <string>

#include "lamp/base/size3.h"

namespace lamp {

// Images [N, C, D, H, W] to class scores [N, K, D, H, W]. May be called for many sizes.
using Predictor = std::function<torch::Tensor(const torch::Tensor&)>;

enum class Blend {
  kGaussian,  // exp(-d^2 / (2 sigma^2)) about the window's centre, sigma = window / 8 on each axis,
              // never below max(its smallest value, 1e-3)
  kConstant,  // every voxel of a window counts the same
};

// "gaussian" or "constant"; throws UsageError for anything else.
Blend parse_blend(const std::string& text);

struct WindowOptions {
  Size3 size;            // x, y, z in voxels
  double overlap = 0.5;  // share of a window that the next one covers again, [0, 1)
  Blend blend = Blend::kGaussian;
  std::int64_t batch = 1;  // windows in one call of the predictor
};

// image [C, D, H, W] -> blended scores [K, D, H, W] float32 on the image's device. A window that is
// longer than the image is as long as the image, as training's patches are: nothing is filled that
// the network's own strides do not ask for (Network::pad), so that one window over the whole image
// gives the whole image's scores.
// Needs one accumulator and one weight map, however many windows there are. Passes on what the
// predictor throws. Thread-safe if the predictor is.
torch::Tensor sliding_window(const torch::Tensor& image, const WindowOptions& options,
                             const Predictor& predictor);

}  // namespace lamp
