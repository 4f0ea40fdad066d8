// A convolution of which each worker has a slab of the volume (sequence/slab_group.h): the planes
// that it needs beyond its own come from their owners, zero padding stands at the volume's two ends
// only, and each slab makes the output planes that it owns.
#pragma once

#include <torch/types.h>

#include <memory>

#include "lamp/nets/conv_kernel.h"
#include "lamp/nets/halo_conv.h"
#include "lamp/sequence/run_context.h"
#include "lamp/sequence/slab_group.h"

namespace lamp {

// One convolution as one slab sees it.
struct SlabConv {
  std::shared_ptr<SlabGroup> group;
  SlabPlanes planes;
  PlaneRange owned;  // of those that are made, the ones that are this slab's
};

// For the context's slabs and planes, which become the output's. Throws (TORCH_CHECK) for one that
// leaves gaps, whose planes would be nobody's.
SlabConv slab_conv(RunContext& run, c10::IntArrayRef weight, const ConvGeometry& geometry);

// Without a graph: the owned planes of what the kernel makes.
torch::Tensor run_on_slab(const SlabConv& slab, const torch::Tensor& input,
                          const torch::Tensor& weight, const SlabKernel& kernel);

// With one. Input, weight and bias (may be undefined) have one dtype, outside of autocast. What is
// kept for the backward pass are the input and its halo, not a joined copy.
torch::Tensor slab_convolution(const SlabConv& slab, const torch::Tensor& input,
                               const torch::Tensor& weight, const torch::Tensor& bias);

// The same with the weights' gradients left as a task (split_conv.h); weight and bias are leaves of
// any floating dtype.
torch::Tensor split_slab_convolution(const SlabConv& slab, const torch::Tensor& input,
                                     const torch::Tensor& weight, const torch::Tensor& bias,
                                     const std::shared_ptr<WeightTasks>& tasks);

}  // namespace lamp
