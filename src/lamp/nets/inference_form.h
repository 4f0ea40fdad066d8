// The network as it is only run, never trained: batch norm folded into the convolution before it,
// activations in place. Skips are freed at their pop by every run of a chain.
#pragma once

#include "lamp/nets/network.h"

namespace lamp {

// A network in evaluation mode with the outputs of `network` up to rounding (logits within 1e-4).
// Layers that stay as they are are shared with `network`, so change neither's weights; its
// parameter names are not those of a model file.
Network inference_form(const Network& network);

}  // namespace lamp
