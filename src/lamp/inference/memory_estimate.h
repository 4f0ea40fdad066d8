// How much memory a forward pass will need, known before it is run.
//
// The model: the bytes allocated at most while one link of the chain runs (its input and output,
// skips on their way, the kernels' workspace) grow as fixed + slope * voxels. Two passes over small
// volumes, counted by the allocator, give both numbers for every link, whatever kernels the device
// chooses; the largest link decides. Workspaces that do not grow with the volume, such as reordered
// weights, are in `fixed`. One thing is not linear: where torch itself chooses the kernel (see
// nets/onednn_conv.h), it runs a float32 convolution on the CPU by im2col, whose workspace is 27
// times its input, unless channels * depth * height of that input exceed 20480. So each link has a
// second line from volumes beyond that.
#pragma once

#include <c10/core/Device.h>
#include <c10/core/ScalarType.h>

#include <array>
#include <cstdint>
#include <vector>

#include "lamp/nets/network.h"
#include "lamp/pipeline/partition.h"

namespace lamp {

class ForwardMemory {
 public:
  // Runs the network a few times on volumes of at most 160 x 160 x 64 voxels (a second for width 32
  // on two cores). The network must be on `device` with weights of `dtype`, in evaluation mode, and
  // no other thread may allocate tensors meanwhile.
  ForwardMemory(const Network& network, c10::Device device, c10::ScalarType dtype);

  // Bytes allocated at most while a volume of x, y, z voxels passes: its padded copy and its logits
  // in, the parameters and the caller's own image out.
  std::int64_t bytes(const std::array<std::int64_t, 3>& size) const;
  // The share of a pipeline stage. Skips lie with the stage that stashes them until they are
  // popped: `waiting` is how many volumes, beside the one at work, have left this stage and are on
  // their way through later ones.
  std::int64_t stage_bytes(const std::array<std::int64_t, 3>& size, const StageRange& links,
                           int waiting) const;

 private:
  struct Line {
    double fixed = 0;
    double slope = 0;  // per voxel
    double at(double voxels) const { return fixed + slope * voxels; }
  };
  struct SkipMemory {
    std::size_t from;
    std::size_t to;
    double slope;  // bytes per voxel
  };
  struct LinkMemory {
    double slice_share = 0;  // channels * depth * height of its input, for each voxel of a slice
    Line small;              // up to kIm2colLimit of those
    Line large;
  };

  void measure_large(const Network& network, std::int64_t length);

  std::int64_t multiple_;
  std::vector<LinkMemory> links_;
  std::vector<SkipMemory> skips_;
};

// Parameters, float32 image, forward pass and float32 logits of one whole volume on the network's
// device: what a process needs beyond its own code. The network's weights must be float32.
std::int64_t estimate_inference_bytes(const Network& network,
                                      const std::array<std::int64_t, 3>& size);

// Bytes of the network's parameters and buffers.
std::int64_t parameter_bytes(const Network& network);

// What may still be allocated: host_memory.h for the CPU, the free memory of a CUDA device.
std::int64_t available_bytes(c10::Device device);

}  // namespace lamp
