// The volumes of one case, as training, segmentation and conversion read them: refused where they
// do not belong together.
#pragma once

#include <torch/types.h>

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "lamp/dataset/datalist.h"

namespace lamp {

// [C, D, H, W] float32: the channels of all files in their order, which must lie on one grid
// (kSameGridVoxels).
Volume read_channels(const std::vector<std::filesystem::path>& files,
                     const ReadOptions& options = {});
// Those of the case's image.
Volume read_case_image(const Case& entry, const ReadOptions& options = {});

// [1, D, H, W] integers, on the grid of the case's first image, with none but declared values.
// Throws InputError that names the file and the values found; a case without a label is misuse.
Volume read_case_label(const Case& entry, const Dataset& dataset, const ReadOptions& options = {});

// How many voxels hold each value of an integer tensor on the CPU. Of an image taken for a label
// map, which may hold millions of values, no more than the first kMostLabelValues are counted.
inline constexpr std::size_t kMostLabelValues = 65536;
std::map<std::int64_t, std::int64_t> count_values(const torch::Tensor& label);
// The part of `counts` whose values are not declared, as "3 (12 voxels), 255 (4 voxels)"; empty if
// there is none.
std::string undeclared_values(const std::map<std::int64_t, std::int64_t>& counts,
                              const std::map<int, std::string>& labels);

}  // namespace lamp
