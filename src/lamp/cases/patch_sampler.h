// Training samples: cases ready for the network, and patches cut from them. Patches are positive,
// as in the paper's section 3: centred on a foreground voxel (moved inward where they would leave
// the volume).
#pragma once

#include <torch/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "lamp/base/beyond_scan.h"
#include "lamp/base/random.h"
#include "lamp/base/size3.h"
#include "lamp/cases/image_code.h"

namespace lamp {

// One case on the network's grid. The tensors may be views of a cache file that is read as they are
// touched (case_file.h), so they must not be written to.
struct TrainingCase {
  std::string name;
  torch::Tensor stored;  // [C, D, H, W]: the image, as `code` says
  ImageCode code;
  torch::Tensor label;  // [D, H, W] uint8, or int16 (many classes, or kNoScan within the grid)
  std::vector<int> annotated;  // label ids that were looked for in this case; empty = all
  // Linear indices (int64) into the volume of foreground voxels, by label: all of them, or an even
  // sample of at most kIndexedVoxels of a large structure.
  std::vector<torch::Tensor> foreground;
  std::vector<std::int64_t> voxel_counts;  // by label, all voxels that the scan showed
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
  std::optional<Size3> size;  // x, y, z; none = the whole volume
  bool by_class = false;  // centre: a voxel of a label drawn first (each present label alike), or
                          // any foreground voxel
};

struct Patch {
  torch::Tensor image;  // [C, d, h, w]
  torch::Tensor label;  // [d, h, w] uint8 or int16; kNoScan where no scan was
};

// Touches only the patch's own part of the case. Where the volume is smaller than the patch, so is
// the result. A case without foreground gives a patch at a random place, where there is scan.
Patch cut_patch(const TrainingCase& sample, const PatchOptions& options, Random& random);

// Grows a patch to `size` (d, h, w) where it is smaller: image by repetition, label by kNoScan. It
// comes after augmentation, so that a mirrored or turned patch is filled like any other image, and
// noise and gamma see the scan alone.
Patch fill_patch(const Patch& patch, const Shape3& size);

// cut_patch, filled up to the size that was asked for.
Patch draw_patch(const TrainingCase& sample, const PatchOptions& options, Random& random);

// The mini-batch of several patches, whose cases may differ in annotation.
struct Batch {
  torch::Tensor image;                      // [N, C, D, H, W]
  torch::Tensor label;                      // [N, D, H, W]
  std::vector<std::vector<int>> annotated;  // one entry a sample, as in TrainingCase
};

// Fills every patch up to the largest of them, and no further: patches that ask for more than any
// volume has are as large as the volumes. Labels are int16 where one of them is.
Batch collate(const std::vector<Patch>& patches, std::vector<std::vector<int>> annotated);

}  // namespace lamp
