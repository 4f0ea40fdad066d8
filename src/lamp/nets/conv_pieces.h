// Convolutions of tensors that are too large for a kernel. From 2^31 elements on, oneDNN leaves its
// fast kernels for a reference convolution that takes hours (16 channels of 512^3 voxels are that
// many), and others count in 32 bits. So no kernel is ever called with such a tensor: samples go
// one after another, and where a single one is too large it is cut into ranges of planes with the
// halo that the kernel needs, all of it chosen from the sizes before anything runs.
//
// Every plane of a result is computed by one call, so that only weight gradients, sums over ranges,
// round differently from an undivided call (they are added up in fp32 or wider).
#pragma once

#include <torch/types.h>

#include <cstdint>

#include "lamp/nets/conv_kernel.h"

namespace lamp {

// For tests: a kernel takes tensors of fewer elements than this, instead of 2^31, in the whole
// process, for as long as it lives.
class KernelLimit {
 public:
  explicit KernelLimit(std::int64_t elements);
  ~KernelLimit();
  KernelLimit(const KernelLimit&) = delete;
  KernelLimit& operator=(const KernelLimit&) = delete;

 private:
  std::int64_t before_;
};

// Whether input or output of the convolution has 2^31 elements or more. Sizes [N, C, D,
// H, W].
bool is_too_large(c10::IntArrayRef input, c10::IntArrayRef weight, const ConvGeometry& geometry);

// convolution() and convolution_gradients() (conv_kernel.h) of smaller tensors, put together. The
// largest piece has an eighth of the limit, where that leaves a plane. No graph.
torch::Tensor convolution_by_pieces(const torch::Tensor& input, const torch::Tensor& weight,
                                    const torch::Tensor& bias, const ConvGeometry& geometry);
ConvGradients gradients_by_pieces(const torch::Tensor& output, const torch::Tensor& input,
                                  const torch::Tensor& weight, const ConvGeometry& geometry,
                                  const WantedGradients& wanted);

}  // namespace lamp
