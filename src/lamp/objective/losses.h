// What training minimises: overlap (Dice or Tversky), focal, cross entropy and boundary terms,
// mixed by the configuration, for label maps of which some classes may not have been annotated.
#pragma once

#include <torch/types.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "lamp/base/json.h"
#include "lamp/objective/loss_input.h"

namespace lamp {

struct LossConfig {
  std::string dice = "per_sample";  // "per_sample" = LAMP, "batch" = AnatomyNet's Tversky, "none"
  double focal_weight = 0.5;
  double cross_entropy_weight = 0;
  double boundary_weight = 0;
  std::string class_weights = "uniform";    // or "inverse_frequency"
  std::vector<double> class_weight_values;  // explicit weights, background first; empty = by name
};

// Reads {"name", "dice", "focal_weight", "cross_entropy_weight", "boundary_weight",
// "class_weights"}; null gives the defaults. "name" is a shorthand that the other keys refine:
// "lamp", "anatomynet", "dice", "cross_entropy", "dice_cross_entropy" or "dice_boundary".
// Throws UsageError for unknown keys, negative weights and a loss without any term.
LossConfig parse_loss_config(const Json& json);
// Every term in full, without "name".
Json to_json(const LossConfig& config);

// Thread-safe: holds nothing but weights.
class Loss {
 public:
  virtual ~Loss() = default;
  // logits: [N, C, D, H, W]; labels: [N, D, H, W] uint8, int16, int32 or int64 with values in
  // [0, C), or kNoScan: such voxels are absent, as if the sample were smaller, and their logits get
  // a gradient of exactly 0 (a sample without any other voxel adds no gradient). annotated: [N, C],
  // 1 or 0 (annotation_flags). All on one device. Returns a scalar with gradient: in double for
  // double logits, else in float32, also for half precision logits.
  // slab: where logits and labels are those of one slab of the volumes; the loss is the volumes',
  // the same in each slab, its gradient that of the own planes.
  virtual torch::Tensor operator()(const torch::Tensor& logits, const torch::Tensor& labels,
                                   const torch::Tensor& annotated,
                                   const LossSlab* slab = nullptr) const = 0;
  // Whether the loss of a batch is the mean of its samples' losses, so that it may be taken for
  // each micro-batch alone, weighted by its share of the batch.
  virtual bool sum_over_samples() const = 0;
};

// class_weights: [C].
std::unique_ptr<Loss> make_loss(const LossConfig& config, const torch::Tensor& class_weights);

// [N, C] float32: 1 for a class that was annotated in the sample. The background counts as
// annotated only if all the others do, since it holds whatever was left out. An empty list stands
// for all classes. Throws (TORCH_CHECK) for ids outside [0, classes).
torch::Tensor annotation_flags(const std::vector<std::vector<int>>& annotated_ids, int classes);

// [C] float32, proportional to 1 / count, with mean 1 over the classes that occur; a class that
// never occurs gets 1.
torch::Tensor inverse_frequency_weights(const std::vector<std::int64_t>& voxel_counts);

}  // namespace lamp
