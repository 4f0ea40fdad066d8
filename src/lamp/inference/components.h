// Cleaning a label map: what is not connected to the main body of an organ, or too small to be one,
// is taken away.
#pragma once

#include <torch/types.h>

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <vector>

namespace lamp {

struct Cleanup {
  // Labels of which only the largest piece stays: ids or names; "all" = every label but 0.
  std::vector<std::string> keep_largest;
  double min_volume_mm3 = 0;  // pieces smaller than this become background

  bool wanted() const { return !keep_largest.empty() || min_volume_mm3 > 0; }
};

// The ids that `keep_largest` means. Throws UsageError for a label that is not there.
std::set<int> labels_to_clean(const Cleanup& cleanup, const std::map<int, std::string>& labels);

// Class numbers become the ids of the model's labels, where these are not 0, 1, 2, ... anyway: then
// the same tensor is returned.
torch::Tensor class_to_id(const torch::Tensor& classes, const std::map<int, std::string>& labels);

struct Components {
  torch::Tensor ids;                 // [D, H, W] int32: 0 for background, else 1 ... sizes.size()
  std::vector<std::int64_t> voxels;  // of component i + 1
  std::vector<int> labels;           // its label
};

// The pieces of equal label, joined over faces, edges and corners (26 neighbours).
// labels: [D, H, W] of an integer type on the CPU. Takes 4 bytes a voxel.
Components connected_components(const torch::Tensor& labels);

// Sets voxels of `labels` [D, H, W] to 0 in place. Of equally large pieces the first in memory
// order stays.
void clean_labels(torch::Tensor labels, const Cleanup& cleanup, const std::set<int>& keep_largest,
                  double voxel_volume_mm3);

}  // namespace lamp
