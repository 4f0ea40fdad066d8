// In fp32 the guard costs a few comparisons.
#include "lamp/nets/guarded_conv.h"

#include <ATen/autocast_mode.h>
#include <torch/types.h>
#include <torch/utils.h>

#include "lamp/nets/conv_pieces.h"
#include "lamp/nets/precision.h"
#include "lamp/nets/split_conv.h"
#include "lamp/sequence/run_context.h"
#include "lamp/sequence/shape_result.h"

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

template <typename Conv>
ConvGeometry geometry_of(const Conv& conv, bool transposed) {
  return {{conv.options.stride()->begin(), conv.options.stride()->end()},
          std::vector<std::int64_t>(3, transposed ? 0 : (conv.weight.size(2) - 1) / 2),
          transposed};
}

ConvGeometry geometry_of(const KernelShape& shape) {
  return {shape.stride, shape.padding, shape.transposed};
}

template <typename Conv>
KernelShape kernel_shape(const Conv& conv, const torch::Tensor& input, bool transposed,
                         at::ScalarType dtype) {
  const ConvGeometry geometry = geometry_of(conv, transposed);
  return {.transposed = transposed,
          .input = input.sizes().vec(),
          .weight = conv.weight.sizes().vec(),
          .stride = geometry.stride,
          .padding = geometry.padding,
          .dtype = dtype,
          .device = input.device(),
          .channels_last = input.suggest_memory_format() == at::MemoryFormat::ChannelsLast3d ||
                           conv.weight.suggest_memory_format() == at::MemoryFormat::ChannelsLast3d};
}

// The convolution outside of autocast in `dtype`, rounded to `shape.dtype`.
template <typename Conv>
torch::Tensor own_convolution(const Conv& conv, const torch::Tensor& input,
                              const KernelShape& shape, at::ScalarType dtype) {
  const c10::impl::ExcludeDispatchKeyGuard no_autocast(c10::autocast_dispatch_keyset);
  const torch::Tensor bias = conv.bias.defined() ? conv.bias.to(dtype) : torch::Tensor();
  return convolution(input.to(dtype), conv.weight.to(dtype), bias, geometry_of(shape))
      .to(shape.dtype);
}

template <typename Conv>
torch::Tensor shape_only(const Conv& conv, const torch::Tensor& input, bool transposed) {
  return shape_result(
      input, conv.weight,
      output_sizes(input.sizes(), conv.weight.sizes(), geometry_of(conv, transposed)));
}

// What replaces torch's own convolution here and now; undefined where nothing has to.
template <typename Conv>
torch::Tensor special_convolution(const Conv& conv, const torch::Tensor& input, bool transposed) {
  if (input.is_meta()) return shape_only(conv, input, transposed);
  const auto dtype = kernel_dtype(input, conv.weight);
  const RunContext* run = RunContext::current();
  const bool split = run != nullptr && run->weight_tasks != nullptr &&
                     torch::GradMode::is_enabled() && conv.weight.requires_grad();
  if (!split && !is_reduced(dtype))
    return convolution(input, conv.weight, conv.bias, geometry_of(conv, transposed));
  KernelShape shape = kernel_shape(conv, input, transposed, dtype);
  shape.forward_only = !torch::GradMode::is_enabled() && (run == nullptr || !run->training);
  const bool trusted = !is_reduced(dtype) || kernel_agrees(shape);
  if (split) {
    return split_convolution(input.to(trusted ? dtype : torch::kFloat32), conv.weight, conv.bias,
                             geometry_of(shape), run->weight_tasks)
        .to(dtype);
  }
  if (!trusted) return own_convolution(conv, input, shape, torch::kFloat32);
  return is_too_large(input.sizes(), conv.weight.sizes(), geometry_of(shape))
             ? own_convolution(conv, input, shape, dtype)
             : torch::Tensor();
}

}  // namespace

torch::Tensor GuardedConv3dImpl::forward(const torch::Tensor& input) {
  const torch::Tensor special = special_convolution(*this, input, false);
  return special.defined() ? special : Conv3dImpl::forward(input);
}

ConvGeometry GuardedConv3dImpl::geometry() const { return geometry_of(*this, false); }

torch::Tensor GuardedConvTranspose3dImpl::forward(const torch::Tensor& input) {
  const torch::Tensor special = special_convolution(*this, input, true);
  return special.defined() ? special : ConvTranspose3dImpl::forward(input);
}

ConvGeometry GuardedConvTranspose3dImpl::geometry() const { return geometry_of(*this, true); }

}  // namespace lamp
