// A network made ready for prediction on one device in one precision.
#pragma once

#include <c10/core/Device.h>
#include <c10/core/ScalarType.h>
#include <torch/types.h>

#include "lamp/inference/sliding_window.h"
#include "lamp/nets/layout_choice.h"
#include "lamp/nets/network.h"

namespace lamp {

// Where, in which precision and in which order the weights lie.
struct Placement {
  c10::Device device = c10::kCPU;
  c10::ScalarType dtype = torch::kFloat32;
  Layout layout = Layout::kChannelsLast;
};

// Moves the network there, in evaluation mode. Batch norms keep float32: their running variances
// would lose all but two digits in bf16.
void place_network(Network& network, const Placement& placement);

// The predictor of a placed network: [N, C, D, H, W] float32 of any size on any device -> float32
// logits of the same size on `device`. Runs link by link and throws Interrupted between links once
// a signal was caught. Not thread-safe for one network.
Predictor make_predictor(const Network& network, c10::Device device, c10::ScalarType dtype);

// What the chain takes of an image [N, C, D, H, W]: padded, in the weights' layout, there.
torch::Tensor chain_input(const Network& network, const torch::Tensor& image, c10::Device device,
                          c10::ScalarType dtype);

}  // namespace lamp
