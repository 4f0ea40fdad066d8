// In fp32 the guard costs a few comparisons.
#include "lamp/nets/guarded_conv.h"

#include <ATen/autocast_mode.h>
#include <torch/types.h>
#include <torch/utils.h>

#include "lamp/nets/conv_pieces.h"
#include "lamp/nets/precision.h"
#include "lamp/nets/slab_conv.h"
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
KernelShape kernel_shape(const Conv& conv, const torch::Tensor& input, const ConvGeometry& geometry,
                         at::ScalarType dtype) {
  return {.transposed = geometry.transposed,
          .input = input.sizes().vec(),
          .weight = conv.weight.sizes().vec(),
          .stride = geometry.stride,
          .padding = geometry.padding,
          .dtype = dtype,
          .device = input.device(),
          .channels_last = layout_of_both(input, conv.weight) == at::MemoryFormat::ChannelsLast3d};
}

torch::Tensor in_dtype(const torch::Tensor& tensor, at::ScalarType dtype) {
  return tensor.defined() ? tensor.to(dtype) : tensor;
}

// The convolution outside of autocast in `dtype`, rounded to `shape.dtype`.
template <typename Conv>
torch::Tensor own_convolution(const Conv& conv, const torch::Tensor& input,
                              const KernelShape& shape, at::ScalarType dtype) {
  const c10::impl::ExcludeDispatchKeyGuard no_autocast(c10::autocast_dispatch_keyset);
  return convolution(input.to(dtype), conv.weight.to(dtype), in_dtype(conv.bias, dtype),
                     geometry_of(shape))
      .to(shape.dtype);
}

// Whether the weights' gradients shall become tasks.
template <typename Conv>
bool splits(const Conv& conv, const RunContext* run) {
  return run != nullptr && run->weight_tasks != nullptr && torch::GradMode::is_enabled() &&
         conv.weight.requires_grad();
}

bool forward_only(const RunContext* run) {
  return !torch::GradMode::is_enabled() && (run == nullptr || !run->training);
}

// What replaces torch's own convolution here and now; undefined where nothing has to.
template <typename Conv>
torch::Tensor special_convolution(const Conv& conv, const torch::Tensor& input,
                                  const ConvGeometry& geometry) {
  if (input.is_meta())
    return shape_result(input, conv.weight,
                        output_sizes(input.sizes(), conv.weight.sizes(), geometry));
  const auto dtype = kernel_dtype(input, conv.weight);
  const RunContext* run = RunContext::current();
  const bool split = splits(conv, run);
  if (!split && !is_reduced(dtype)) return convolution(input, conv.weight, conv.bias, geometry);
  KernelShape shape = kernel_shape(conv, input, geometry, dtype);
  shape.forward_only = forward_only(run);
  const bool trusted = !is_reduced(dtype) || kernel_agrees(shape);
  if (split) {
    return split_convolution(input.to(trusted ? dtype : torch::kFloat32), conv.weight, conv.bias,
                             geometry, run->weight_tasks)
        .to(dtype);
  }
  if (!trusted) return own_convolution(conv, input, shape, torch::kFloat32);
  return is_too_large(input.sizes(), conv.weight.sizes(), geometry)
             ? own_convolution(conv, input, shape, dtype)
             : torch::Tensor();
}

// This slab's part of the convolution of a volume.
template <typename Conv>
torch::Tensor convolution_on_slab(const Conv& conv, const torch::Tensor& input, RunContext& run) {
  SlabConv slab = slab_conv(run, conv.weight.sizes(), conv.geometry());
  const auto dtype = kernel_dtype(input, conv.weight);
  slab.planes.always_joined = is_reduced(dtype);  // so that the one shape that is checked is run
  const HaloPlan& planes = slab.planes.input;
  std::vector<std::int64_t> sizes = input.sizes().vec();
  sizes[static_cast<std::size_t>(planes.axis)] =
      planes.needed[static_cast<std::size_t>(slab.group->rank())].count();
  KernelShape shape = kernel_shape(conv, input, slab.planes.geometry, dtype);
  shape.input = sizes;
  shape.forward_only = forward_only(&run);
  const bool trusted = !is_reduced(dtype) || kernel_agrees(shape);
  const auto used = trusted ? dtype : torch::kFloat32;
  if (splits(conv, &run))
    return split_slab_convolution(slab, input.to(used), conv.weight, conv.bias, run.weight_tasks)
        .to(dtype);
  return slab_convolution(slab, input.to(used), conv.weight.to(used), in_dtype(conv.bias, used))
      .to(dtype);
}

template <typename Conv>
torch::Tensor forward_of(Conv& conv, const torch::Tensor& input) {
  RunContext* run = RunContext::current();
  return run != nullptr && run->slabs != nullptr
             ? convolution_on_slab(conv, input, *run)
             : special_convolution(conv, input, conv.geometry());
}

template <typename Conv>
std::optional<PlaneRule> slab_rule(const Conv& conv, std::int64_t axis) {
  const PlaneRule rule = plane_rule(conv.weight.sizes(), conv.geometry(), axis);
  return rule.leaves_gaps() ? std::nullopt : std::optional(rule);
}

template <typename Conv>
torch::Tensor run_with(const Conv& conv, const torch::Tensor& input, const ConvGeometry& geometry) {
  const torch::Tensor special = special_convolution(conv, input, geometry);
  return special.defined()
             ? special
             : torch::convolution(input, conv.weight, conv.bias, geometry.stride, geometry.padding,
                                  kOnes, geometry.transposed, kZeros, 1);
}

}  // namespace

torch::Tensor GuardedConv3dImpl::forward(const torch::Tensor& input) {
  const torch::Tensor special = forward_of(*this, input);
  return special.defined() ? special : Conv3dImpl::forward(input);
}

torch::Tensor GuardedConv3dImpl::run(const torch::Tensor& input, const ConvGeometry& geometry) {
  return run_with(*this, input, geometry);
}

ConvGeometry GuardedConv3dImpl::geometry() const { return geometry_of(*this, false); }

std::optional<PlaneRule> GuardedConv3dImpl::plane_rule(std::int64_t axis) const {
  return slab_rule(*this, axis);
}

torch::Tensor GuardedConvTranspose3dImpl::forward(const torch::Tensor& input) {
  const torch::Tensor special = forward_of(*this, input);
  return special.defined() ? special : ConvTranspose3dImpl::forward(input);
}

torch::Tensor GuardedConvTranspose3dImpl::run(const torch::Tensor& input,
                                              const ConvGeometry& geometry) {
  return run_with(*this, input, geometry);
}

ConvGeometry GuardedConvTranspose3dImpl::geometry() const { return geometry_of(*this, true); }

std::optional<PlaneRule> GuardedConvTranspose3dImpl::plane_rule(std::int64_t axis) const {
  return slab_rule(*this, axis);
}

}  // namespace lamp
