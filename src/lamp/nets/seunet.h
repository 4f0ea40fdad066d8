// SEU-Net: the U-Net's topology with AnatomyNet's squeeze-and-excitation residual block in place of
// each pair of convolutions (the paper's section 2.1; its code was never released, so the names are
// ours).
#pragma once

#include "lamp/nets/blocks.h"
#include "lamp/nets/network.h"

namespace lamp {

// Takes [N, in_channels, D, H, W] with D, H, W multiples of 2^(depth + 1); gives logits of the same
// size.
Links seunet_links(const NetConfig& config);

}  // namespace lamp
