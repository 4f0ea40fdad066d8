// Training samples: cases ready for the network, and patches cut from them. Patches are positive,
// as in the paper's section 3: centred on a foreground voxel (moved inward where they would leave
// the volume).
#pragma once

#include <torch/types.h>

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "lamp/base/random.h"
#include "lamp/data/image_code.h"

namespace lamp {

// One case on the network's grid. The tensors may be views of a cache file that is read as they are
// touched (case_file.h), so they must not be written to.
struct TrainingCase {
  std::string name;
  torch::Tensor stored;  // [C, D, H, W]: the image, as `code` says
  ImageCode code;
  torch::Tensor label;         // [D, H, W] uint8 or int16
  std::vector<int> annotated;  // label ids that were looked for in this case; empty = all
  // Linear indices (int64) into the volume of foreground voxels, by label: all of them, or an even
  // sample of at most kIndexedVoxels of a large structure.
  std::vector<torch::Tensor> foreground;
  std::vector<std::int64_t> voxel_counts;  // by label, all voxels
  torch::Tensor intensities;  // of the image before the window: intensity_stats.h's packed form
  bool mapped = false;        // the tensors are views of a file

  torch::Tensor image() const { return decode_image(stored, code); }  // float32
  std::int64_t bytes() const;  // of memory; what is mapped counts nothing
};

inline constexpr std::int64_t kIndexedVoxels = 1 << 16;

// Fills foreground and voxel_counts from the label.
void index_foreground(TrainingCase& sample, int classes);

// A stage's way of cutting.
struct PatchOptions {
  std::optional<std::array<std::int64_t, 3>> size;  // x, y, z; none = the whole volume
  bool by_class = false;  // centre: a voxel of a label drawn first (each present label alike), or
                          // any foreground voxel
};

struct Patch {
  torch::Tensor image;  // [C, d, h, w]
  torch::Tensor label;  // [d, h, w]
};

// Touches only the patch's own part of the case. Volumes smaller than the patch are padded: image
// by replication, label by background. A case without foreground gives a patch at a random place.
Patch draw_patch(const TrainingCase& sample, const PatchOptions& options, Random& random);

// The mini-batch of several patches, whose cases may differ in annotation.
struct Batch {
  torch::Tensor image;                      // [N, C, D, H, W]
  torch::Tensor label;                      // [N, D, H, W]
  std::vector<std::vector<int>> annotated;  // one entry a sample, as in TrainingCase
};

// Pads whole volumes of different sizes to the largest (image by replication, label by background).
Batch collate(const std::vector<Patch>& patches, std::vector<std::vector<int>> annotated);

}  // namespace lamp
