// Prepared images in fewer bytes, to the last bit. CT values are whole numbers until they are
// resampled: clipped to a window they fit one byte or two, and the window's arithmetic, which works
// on each voxel alone, may as well come after a patch is cut.
#pragma once

#include <torch/types.h>

#include <array>
#include <optional>

namespace lamp {

// value = (stored + offset), clipped to the window and mapped to [0, 1]. Stored float32 values are
// the final ones: no offset, no window.
struct ImageCode {
  double offset = 0;
  std::optional<std::array<double, 2>> window;
};

struct CodedImage {
  torch::Tensor stored;  // contiguous; uint8, int16 or float32
  ImageCode code;
};

// `values`: float32 [C, D, H, W] before the window. The smallest of the three types from which
// decode_image gives apply_window(values) bit for bit, which is compared voxel by voxel.
CodedImage encode_image(const torch::Tensor& values,
                        const std::optional<std::array<double, 2>>& window);

// float32 of the same shape; any part of a stored image decodes to that part. May be `stored`
// itself.
torch::Tensor decode_image(const torch::Tensor& stored, const ImageCode& code);

}  // namespace lamp
