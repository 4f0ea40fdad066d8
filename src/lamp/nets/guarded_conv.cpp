// In fp32 the guard costs two comparisons.
#include "lamp/nets/guarded_conv.h"

#include <ATen/autocast_mode.h>
#include <torch/torch.h>

#include "lamp/nets/precision.h"

namespace lamp {
namespace {

// The dtype in which torch would run a convolution of these tensors here and now.
at::ScalarType kernel_dtype(const torch::Tensor& input, const torch::Tensor& weight) {
  const auto device = input.device().type();
  return at::autocast::is_autocast_enabled(device) ? at::autocast::get_autocast_dtype(device)
                                                   : weight.scalar_type();
}

bool is_reduced(at::ScalarType dtype) {
  return dtype == torch::kBFloat16 || dtype == torch::kFloat16;
}

// The convolution in fp32 if the kernel of its shape is not trusted; undefined if it is.
template <typename Conv>
torch::Tensor guarded(Conv& conv, const torch::Tensor& input, bool transposed) {
  const auto dtype = kernel_dtype(input, conv.weight);
  const std::vector<std::int64_t> stride(conv.options.stride()->begin(),
                                         conv.options.stride()->end());
  const std::vector<std::int64_t> padding(3, transposed ? 0 : (conv.weight.size(2) - 1) / 2);
  const bool last = input.suggest_memory_format() == at::MemoryFormat::ChannelsLast3d ||
                    conv.weight.suggest_memory_format() == at::MemoryFormat::ChannelsLast3d;
  if (kernel_agrees({.transposed = transposed,
                     .input = input.sizes().vec(),
                     .weight = conv.weight.sizes().vec(),
                     .stride = stride,
                     .padding = padding,
                     .dtype = dtype,
                     .device = input.device(),
                     .channels_last = last}))
    return {};
  const c10::impl::ExcludeDispatchKeyGuard no_autocast(c10::autocast_dispatch_keyset);
  const std::vector<std::int64_t> ones(3, 1), zeros(3, 0);
  const torch::Tensor bias = conv.bias.defined() ? conv.bias.to(torch::kFloat32) : torch::Tensor();
  return torch::convolution(input.to(torch::kFloat32), conv.weight.to(torch::kFloat32), bias,
                            stride, padding, ones, transposed, zeros, 1)
      .to(dtype);
}

}  // namespace

torch::Tensor GuardedConv3dImpl::forward(const torch::Tensor& input) {
  if (!is_reduced(kernel_dtype(input, weight))) return Conv3dImpl::forward(input);
  const torch::Tensor exact = guarded(*this, input, false);
  return exact.defined() ? exact : Conv3dImpl::forward(input);
}

torch::Tensor GuardedConvTranspose3dImpl::forward(const torch::Tensor& input) {
  if (!is_reduced(kernel_dtype(input, weight))) return ConvTranspose3dImpl::forward(input);
  const torch::Tensor exact = guarded(*this, input, true);
  return exact.defined() ? exact : ConvTranspose3dImpl::forward(input);
}

}  // namespace lamp
