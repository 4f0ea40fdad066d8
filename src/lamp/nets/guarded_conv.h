// torch's convolutions with a kernel of our choice (conv_kernel.h) and a check before reduced
// precision: where the kernel of a shape disagrees with fp32 (precision.h), that call runs in fp32
// and its result is rounded. Inside a RunScope with `weight_tasks` the weight's gradient becomes a
// task (split_conv.h); inside one with `slabs` the input is a slab of a volume (slab_conv.h).
#pragma once

#include <torch/nn/modules/conv.h>

#include <cstdint>
#include <optional>

#include "lamp/nets/conv_kernel.h"
#include "lamp/sequence/plane_range.h"

namespace lamp {

class GuardedConv3dImpl : public torch::nn::Conv3dImpl {
 public:
  using torch::nn::Conv3dImpl::Conv3dImpl;
  torch::Tensor forward(const torch::Tensor& input);
  // The same, guarded alike, with another geometry and of all that is there, slab or not.
  torch::Tensor run(const torch::Tensor& input, const ConvGeometry& geometry);
  ConvGeometry geometry() const;
  std::optional<PlaneRule> plane_rule(std::int64_t axis) const;
};
TORCH_MODULE(GuardedConv3d);

class GuardedConvTranspose3dImpl : public torch::nn::ConvTranspose3dImpl {
 public:
  using torch::nn::ConvTranspose3dImpl::ConvTranspose3dImpl;
  torch::Tensor forward(const torch::Tensor& input);
  // The same, guarded alike, with another geometry and of all that is there, slab or not.
  torch::Tensor run(const torch::Tensor& input, const ConvGeometry& geometry);
  ConvGeometry geometry() const;
  std::optional<PlaneRule> plane_rule(std::int64_t axis) const;
};
TORCH_MODULE(GuardedConvTranspose3d);

}  // namespace lamp
