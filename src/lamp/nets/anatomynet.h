// AnatomyNet (Zhu et al., Medical Physics 2018): the baseline, with a single downsampling and its
// published names.
#pragma once

#include "lamp/nets/blocks.h"
#include "lamp/nets/network.h"

namespace lamp {

inline constexpr std::int64_t kAnatomyNetWidth = 28;

// Takes [N, in_channels, D, H, W] with even D, H, W; gives logits of the same size (the published
// network ends with their softmax). Its width and depth are fixed.
Links anatomynet_links(const NetConfig& config);

}  // namespace lamp
