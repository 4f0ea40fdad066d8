// How much memory a forward pass will need, known before it is run.
//
// The planner's model (planner/forward_pass.h) says which tensors are there while one link of the
// chain runs; their sizes are proportional to the voxels. Kernels' workspaces are found by two
// passes over small volumes, counted by the allocator, whatever kernels the device chooses: each
// link's grows as fixed + slope * voxels. Workspaces that do not grow with the volume, such as
// reordered weights, are in `fixed`. One thing is not linear: where torch itself chooses the kernel
// (nets/onednn_conv.h) it runs a float32 convolution on the CPU by im2col, whose workspace is 27
// times its input, unless channels * depth * height of that input exceed 20480. So each link has a
// second line from volumes beyond that.
#pragma once

#include <c10/core/Device.h>
#include <c10/core/ScalarType.h>

#include <cstdint>
#include <vector>

#include "lamp/base/size3.h"
#include "lamp/nets/network.h"
#include "lamp/pipeline/partition.h"
#include "lamp/planner/network_costs.h"

namespace lamp {

class ForwardMemory {
 public:
  // Runs the network a few times on volumes of at most 160 x 160 x 64 voxels (a second for width 32
  // on two cores). The network must be on `device` with weights of `dtype`, in evaluation mode, and
  // no other thread may allocate tensors meanwhile.
  ForwardMemory(const Network& network, c10::Device device, c10::ScalarType dtype);

  // Bytes allocated at most while a volume of x, y, z voxels passes: its padded copy and its logits
  // in, the parameters and the caller's own image out.
  std::int64_t bytes(const Size3& size) const;
  // The share of a pipeline stage; waiting: as in prediction_peak_bytes().
  std::int64_t stage_bytes(const Size3& size, const StageRange& links, int waiting) const;

 private:
  struct Line {
    double fixed = 0;
    double slope = 0;  // per voxel
    std::int64_t at(double voxels) const;
  };
  struct Workspace {
    double slice_share = 0;  // channels * depth * height of the link's input, for each of a slice
    Line small;              // up to kIm2colLimit of those
    Line large;
  };
  struct TwoPasses;

  void measure_large(const Network& network, std::int64_t length);
  NetworkCosts costs_of(const Size3& size) const;

  std::int64_t multiple_;
  NetworkCosts unit_;  // of `unit_voxels_` voxels; its last layer is the copy to float32
  double unit_voxels_ = 0;
  std::vector<Workspace> workspaces_;
};

// Bytes of the network's parameters and buffers.
std::int64_t parameter_bytes(const Network& network);

// What may still be allocated: host_memory.h for the CPU, the free memory of a CUDA device.
std::int64_t available_bytes(c10::Device device);

}  // namespace lamp
