// A network made ready for prediction on one device in one precision.
#pragma once

#include <c10/core/Device.h>
#include <c10/core/MemoryFormat.h>
#include <c10/core/ScalarType.h>

#include <string>
#include <vector>

#include "lamp/inference/sliding_window.h"
#include "lamp/nets/network.h"
#include "lamp/pipeline/partition.h"

namespace lamp {

// precision.h's names as dtypes of weights. Throws UsageError for anything else and for fp16 on the
// CPU.
c10::ScalarType parse_precision(const std::string& text, c10::Device device);

// NDHWC on the CPU, where transposed convolutions are many times faster in it; NCDHW elsewhere.
c10::MemoryFormat layout_on(c10::Device device);

// Moves the network there, in evaluation mode. Batch norms keep float32: their running variances
// would lose all but two digits in bf16.
void place_network(const Network& network, c10::Device device, c10::ScalarType dtype);

// The predictor of a placed network: [N, C, D, H, W] float32 of any size on any device -> float32
// logits of the same size on `device`. Runs link by link and throws Interrupted between links once
// a signal was caught. Not thread-safe for one network.
Predictor make_predictor(const Network& network, c10::Device device, c10::ScalarType dtype);

// A network over several devices, one pipeline stage each.
struct StagePlacement {
  std::vector<c10::Device> devices;
  Partition partition;
  c10::ScalarType dtype = torch::kFloat32;
  int threads_per_stage = 0;  // of CPU stages; 0 = this process's threads shared out
};

// Stages whose forward passes take equally long, measured on a small volume. The network must be
// placed on `device`.
Partition cut_by_forward_time(const Network& network, c10::Device device, c10::ScalarType dtype,
                              std::size_t stages);

// Like make_predictor's, but thread-safe, and the N samples of a call stream through the stages as
// those of other threads' calls do. The scores lie on the last device. The network must be placed
// on the first; its layers move to their stages.
Predictor make_streamed_predictor(const Network& network, const StagePlacement& placement);

}  // namespace lamp
