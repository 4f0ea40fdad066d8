// The words that users bring along from nnU-Net, MONAI and PyTorch, and where our configuration
// keeps what they mean.
#include "lamp/base/foreign_keys.h"

#include <algorithm>
#include <array>
#include <utility>

namespace lamp {
namespace {

using Row = std::pair<const char*, const char*>;

constexpr std::array kRows = {
    Row{"learning_rate", "optimizer.lr"},
    Row{"initial_lr", "optimizer.lr"},
    Row{"base_lr", "optimizer.lr"},
    Row{"lr", "optimizer.lr"},
    Row{"beta", "optimizer.momentum"},
    Row{"decay", "optimizer.weight_decay"},
    Row{"wd", "optimizer.weight_decay"},
    Row{"lr_scheduler", "optimizer.schedule"},
    Row{"scheduler", "optimizer.schedule"},
    Row{"grad_clip", "optimizer.clip_norm"},
    Row{"clip_grad", "optimizer.clip_norm"},
    Row{"gradient_clip", "optimizer.clip_norm"},
    Row{"optim", "optimizer"},
    Row{"num_epochs", "curriculum.0.epochs"},
    Row{"max_epochs", "curriculum.0.epochs"},
    Row{"n_epochs", "curriculum.0.epochs"},
    Row{"epochs", "curriculum.0.epochs"},
    Row{"num_iterations", "curriculum.0.epochs"},
    Row{"batch_size", "curriculum.0.batch"},
    Row{"batch", "curriculum.0.batch"},
    Row{"bs", "curriculum.0.batch"},
    Row{"patch_size", "curriculum.0.patch"},
    Row{"patch", "curriculum.0.patch"},
    Row{"roi_size", "curriculum.0.patch"},
    Row{"spatial_size", "curriculum.0.patch"},
    Row{"crop_size", "curriculum.0.patch"},
    Row{"stages", "curriculum"},
    Row{"model", "net"},
    Row{"network", "net"},
    Row{"architecture", "net"},
    Row{"base_num_features", "net.width"},
    Row{"features", "net.width"},
    Row{"channels", "net.width"},
    Row{"filters", "net.width"},
    Row{"num_pool", "net.depth"},
    Row{"n_stages", "net.depth"},
    Row{"out_channels", "net.classes"},
    Row{"num_classes", "net.classes"},
    Row{"num_input_channels", "net.in_channels"},
    Row{"pixdim", "data.spacing_mm"},
    Row{"spacing", "data.spacing_mm"},
    Row{"target_spacing", "data.spacing_mm"},
    Row{"voxel_size", "data.spacing_mm"},
    Row{"a_min", "data.window"},
    Row{"a_max", "data.window"},
    Row{"intensity_range", "data.window"},
    Row{"clip", "data.window"},
    Row{"axcodes", "data.orientation"},
    Row{"augmentation", "augment"},
    Row{"transforms", "augment"},
    Row{"criterion", "loss"},
    Row{"loss_function", "loss"},
    Row{"num_workers", "loader.threads"},
    Row{"num_processes", "loader.threads"},
    Row{"workers", "loader.threads"},
    Row{"cache_dir", "loader.cache"},
    Row{"cache_rate", "loader.cache"},
    Row{"val_interval", "validation.every_epochs"},
    Row{"val_fraction", "validation.fraction"},
    Row{"val_frac", "validation.fraction"},
    Row{"fold", "validation.fold"},
    Row{"amp", "execution.precision"},
    Row{"fp16", "execution.precision"},
    Row{"gpu", "execution.device"},
    Row{"gpus", "execution.device"},
    Row{"device", "execution.device"},
    Row{"chunks", "execution.microbatches"},
    Row{"balance", "execution.partition"},
    Row{"checkpointing", "execution.recompute"},
    Row{"save_every", "checkpoint.every_seconds"},
    Row{"random_seed", "seed"},
    Row{"random_state", "seed"},
};

}  // namespace

std::string place_of_foreign_key(const std::string& word) {
  std::string plain = word;
  std::transform(plain.begin(), plain.end(), plain.begin(), [](unsigned char c) {
    return c == '-' ? '_' : static_cast<char>(std::tolower(c));
  });
  const auto row = std::find_if(kRows.begin(), kRows.end(),
                                [&](const Row& known) { return plain == known.first; });
  return row == kRows.end() ? "" : row->second;
}

}  // namespace lamp
