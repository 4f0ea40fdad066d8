// A convolution that is only run, never trained. torch brings weights into the order of oneDNN's
// kernels at every call, which for the deep layers (few voxels, many channels) takes longer than
// the convolution; here it is done once, and a leaky ReLU happens inside the kernel.
#pragma once

#include <c10/core/Storage.h>
#include <torch/types.h>

#include <memory>
#include <optional>

#include "lamp/nets/conv_kernel.h"

namespace lamp {

// Keeps a reordered copy of the weights, made at the first call and again when the weights move to
// other memory; it does not notice values written in place. Convolutions with the same weights in
// memory, as the slabs of a volume on one device have, hold one copy together. Not thread-safe, but
// each may have a thread of its own.
class PackedConvolution {
 public:
  // convolution(), then a leaky ReLU if there is a slope. Undefined where there is no such kernel:
  // other dtypes than fp32, other devices or layouts than channels last, with a graph, a tensor too
  // large for a kernel (conv_pieces.h), or a version of torch without it.
  torch::Tensor run(const torch::Tensor& input, const torch::Tensor& weight,
                    const torch::Tensor& bias, const ConvGeometry& geometry,
                    std::optional<double> slope);

 private:
  void pack(const torch::Tensor& input, const torch::Tensor& weight, const ConvGeometry& geometry);

  c10::Storage source_;  // held as long as the copy, so that no other weights can come to lie there
  std::shared_ptr<const torch::Tensor> packed_;
};

}  // namespace lamp
