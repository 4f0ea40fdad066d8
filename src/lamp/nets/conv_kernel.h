// The kernels under every convolution of the networks. torch chooses badly in one case that matters
// here: a single fp32 sample with N x C x D x H up to 20480 goes through im2col, which is up to 30
// times as slow as oneDNN and leaves the result in another memory layout. Micro-batches of one
// sample and the deep layers of a whole volume are such. So on the CPU fp32 goes to oneDNN always.
// And no kernel gets a tensor of 2^31 elements or more (conv_pieces.h).
#pragma once

#include <torch/types.h>

#include <cstdint>
#include <vector>

#include "lamp/sequence/plane_range.h"

namespace lamp {

struct ConvGeometry {
  std::vector<std::int64_t> stride;
  std::vector<std::int64_t> padding;
  bool transposed = false;  // then weight is [in, out, D, H, W]
};

inline const std::vector<std::int64_t> kOnes(3, 1);   // no dilation
inline const std::vector<std::int64_t> kZeros(3, 0);  // no output padding

struct WantedGradients {
  bool input = true;
  bool weight = true;
  bool bias = true;
};

struct ConvGradients {  // undefined where not wanted
  torch::Tensor input;
  torch::Tensor weight;
  torch::Tensor bias;
};

// Along an axis of [N, C, D, H, W]: 2, 3 or 4.
PlaneRule plane_rule(c10::IntArrayRef weight, const ConvGeometry& geometry, std::int64_t axis);

// Channels last if input or weights ask for it.
at::MemoryFormat layout_of_both(const torch::Tensor& input, const torch::Tensor& weight);

// [N, C, D, H, W] of what comes out.
std::vector<std::int64_t> output_sizes(c10::IntArrayRef input, c10::IntArrayRef weight,
                                       const ConvGeometry& geometry);

// Whether oneDNN takes a convolution of these: fp32 on a CPU that has it.
bool runs_on_onednn(const torch::Tensor& input, const torch::Tensor& weight);

// torch::convolution with dilation 1 and one group. Input, weight and bias (may be undefined) have
// one dtype. Builds a graph where torch would.
torch::Tensor convolution(const torch::Tensor& input, const torch::Tensor& weight,
                          const torch::Tensor& bias, const ConvGeometry& geometry);

// Without a graph. `output` is the gradient that arrives.
ConvGradients convolution_gradients(const torch::Tensor& output, const torch::Tensor& input,
                                    const torch::Tensor& weight, const ConvGeometry& geometry,
                                    const WantedGradients& wanted);

}  // namespace lamp
