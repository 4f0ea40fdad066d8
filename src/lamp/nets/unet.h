// The U-Net published with LAMP, as a chain whose links bear the published weights' names.
#pragma once

#include "lamp/nets/blocks.h"
#include "lamp/nets/network.h"

namespace lamp {

// Takes [N, in_channels, D, H, W] with D, H, W multiples of 2^(depth + 1); gives logits of the same
// size.
Links unet_links(const NetConfig& config);

}  // namespace lamp
