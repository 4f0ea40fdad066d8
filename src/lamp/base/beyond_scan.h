// What lies beyond the end of a scan. A network may need more room than a scan has: batches of
// unequal volumes, strides, moved and sheared grids. (Patches and windows that are longer than the
// volume are as long as the volume.) Training and inference show it the same there: the scan's last
// values, repeated. What is shown
// is no truth, though, so its label is kNoScan, and no loss, metric, sampling or statistic counts
// it. (Batch norm does see it, as in the paper.)
#pragma once

#include <torch/types.h>

#include <cstdint>
#include <optional>

#include "lamp/base/size3.h"

namespace lamp {

// The label of a voxel that no scan showed. Unsigned label maps hold none (torch would compare
// their 255 with it as equal, so ask seen_by_scan).
inline constexpr std::int64_t kNoScan = -1;

// Grows the last three dimensions of [.., D, H, W] to `size` where they are smaller, at
// the high ends, by repeating the last slices. Any float type; four or five dimensions.
torch::Tensor extend_scan(const torch::Tensor& image, const Shape3& size);

// The same for labels [D, H, W]: what is added is kNoScan, for which uint8 becomes int16.
torch::Tensor extend_labels(const torch::Tensor& labels, const Shape3& size);

// Puts kNoScan wherever `beyond` is set, for which uint8 becomes int16. The given labels are left
// alone, and returned where nothing is set.
torch::Tensor mark_no_scan(const torch::Tensor& labels, const torch::Tensor& beyond);

// Which of the labels (of any shape) a scan showed, bool; nothing if it showed them all.
std::optional<torch::Tensor> seen_by_scan(const torch::Tensor& labels);

}  // namespace lamp
