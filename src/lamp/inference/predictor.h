// A network made ready for prediction on one device in one precision.
#pragma once

#include <c10/core/Device.h>
#include <c10/core/ScalarType.h>

#include <vector>

#include "lamp/inference/sliding_window.h"
#include "lamp/nets/layout_choice.h"
#include "lamp/nets/network.h"
#include "lamp/pipeline/partition.h"

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

// A network over several devices, one pipeline stage each.
struct StagePlacement {
  std::vector<c10::Device> devices;
  c10::ScalarType dtype = torch::kFloat32;
  bool one_at_a_time = false;  // stages never work at once, so each has all threads of the process
};

struct StreamedPredictor {
  Partition partition;  // stages whose forward passes took equally long on a small volume
  Predictor predict;
};

// Like make_predictor's, but thread-safe, and the N samples of a call stream through the stages as
// those of other threads' calls do. The scores lie on the last device. The network must be placed
// on the first; its layers move to their stages.
StreamedPredictor make_streamed_predictor(const Network& network, const StagePlacement& placement);

// In one call of the predictor: so many that every stage has one and the next waits at its door.
std::int64_t windows_at_once(std::size_t stages);

}  // namespace lamp
