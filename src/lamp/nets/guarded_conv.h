// torch's convolutions with a kernel of our choice (conv_kernel.h) and a check before reduced
// precision: where the kernel of a shape disagrees with fp32 (precision.h), that call runs in fp32
// and its result is rounded. Inside a RunScope with `weight_tasks` the weight's gradient becomes a
// task (split_conv.h).
#pragma once

#include <torch/nn/modules/conv.h>

#include "lamp/nets/conv_kernel.h"

namespace lamp {

class GuardedConv3dImpl : public torch::nn::Conv3dImpl {
 public:
  using torch::nn::Conv3dImpl::Conv3dImpl;
  torch::Tensor forward(const torch::Tensor& input);
  ConvGeometry geometry() const;
};
TORCH_MODULE(GuardedConv3d);

class GuardedConvTranspose3dImpl : public torch::nn::ConvTranspose3dImpl {
 public:
  using torch::nn::ConvTranspose3dImpl::ConvTranspose3dImpl;
  torch::Tensor forward(const torch::Tensor& input);
  ConvGeometry geometry() const;
};
TORCH_MODULE(GuardedConvTranspose3d);

}  // namespace lamp
