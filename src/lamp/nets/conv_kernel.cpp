// oneDNN behind torch's dispatch stubs, which do not choose. The fused kernels are known to torch's
// dispatcher only; where a version of torch lacks them, two kernels run instead.
#include "lamp/nets/conv_kernel.h"

#include <ATen/Context.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/native/ConvUtils.h>
#include <ATen/ops/mkldnn_convolution.h>
#include <torch/torch.h>

#include <array>
#include <optional>
#include <string_view>
#include <tuple>

namespace lamp {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

const std::vector<std::int64_t> kOnes(3, 1);
const std::vector<std::int64_t> kZeros(3, 0);

bool runs_on_onednn(const torch::Tensor& input, const torch::Tensor& weight) {
  return input.is_cpu() && input.scalar_type() == torch::kFloat32 &&
         weight.scalar_type() == torch::kFloat32 && input.dim() == 5 && input.numel() > 0 &&
         at::hasMKLDNN() && at::globalContext().userEnabledMkldnn();
}

// Either of both may ask for channels last.
at::MemoryFormat layout_of(const torch::Tensor& input, const torch::Tensor& weight) {
  return at::native::mkldnn_conv_use_channels_last(input, weight) ? at::MemoryFormat::ChannelsLast3d
                                                                  : at::MemoryFormat::Contiguous;
}

std::optional<torch::Tensor> optional_bias(const torch::Tensor& bias) {
  return bias.defined() ? std::optional(bias.contiguous()) : std::nullopt;
}

torch::Tensor onednn_convolution(const torch::Tensor& input, const torch::Tensor& weight,
                                 const torch::Tensor& bias, const ConvGeometry& geometry) {
  const auto layout = layout_of(input, weight);
  const torch::Tensor x = input.contiguous(layout), w = weight.contiguous(layout);
  if (geometry.transposed)
    return at::native::mkldnn_convolution_transpose_stub(
        c10::kCPU, x, w, optional_bias(bias), geometry.padding, kZeros, geometry.stride, kOnes, 1);
  return at::mkldnn_convolution(x, w, optional_bias(bias), geometry.padding, geometry.stride, kOnes,
                                1);
}

ConvGradients onednn_gradients(const torch::Tensor& output, const torch::Tensor& input,
                               const torch::Tensor& weight, const ConvGeometry& geometry,
                               const WantedGradients& wanted) {
  const auto layout = layout_of(input, weight);
  const torch::Tensor y = output.contiguous(layout), x = input.contiguous(layout),
                      w = weight.contiguous(layout);
  const std::array<bool, 3> mask = {wanted.input, wanted.weight, wanted.bias};
  auto [of_input, of_weight, of_bias] =
      geometry.transposed
          ? at::native::mkldnn_convolution_transpose_backward_stub(
                c10::kCPU, x, y, w, geometry.padding, kZeros, geometry.stride, kOnes, 1, mask)
          : at::native::mkldnn_convolution_backward_stub(c10::kCPU, x, y, w, geometry.padding,
                                                         geometry.stride, kOnes, 1, mask);
  return {wanted.input ? of_input : torch::Tensor(), wanted.weight ? of_weight : torch::Tensor(),
          wanted.bias ? of_bias : torch::Tensor()};
}

struct OneDnnConvolution : torch::autograd::Function<OneDnnConvolution> {
  static torch::Tensor forward(AutogradContext* context, const torch::Tensor& input,
                               const torch::Tensor& weight, const torch::Tensor& bias,
                               const ConvGeometry& geometry) {
    context->save_for_backward({input, weight});
    context->saved_data["stride"] = geometry.stride;
    context->saved_data["padding"] = geometry.padding;
    context->saved_data["transposed"] = geometry.transposed;
    return onednn_convolution(input, weight, bias, geometry);
  }

  static variable_list backward(AutogradContext* context, const variable_list& outputs) {
    const auto saved = context->get_saved_variables();
    const ConvGeometry geometry{context->saved_data["stride"].toIntVector(),
                                context->saved_data["padding"].toIntVector(),
                                context->saved_data["transposed"].toBool()};
    const ConvGradients gradients = onednn_gradients(
        outputs[0], saved[0], saved[1], geometry,
        {context->needs_input_grad(0), context->needs_input_grad(1), context->needs_input_grad(2)});
    return {gradients.input, gradients.weight, gradients.bias, torch::Tensor()};
  }
};

using Scalars = c10::List<std::optional<c10::Scalar>>;
using FusedConvolution = torch::Tensor(const torch::Tensor&, const torch::Tensor&,
                                       const std::optional<torch::Tensor>&, c10::IntArrayRef,
                                       c10::IntArrayRef, c10::IntArrayRef, std::int64_t,
                                       std::string_view, Scalars, std::optional<std::string_view>);
using FusedTransposed = torch::Tensor(const torch::Tensor&, const torch::Tensor&,
                                      const std::optional<torch::Tensor>&, c10::IntArrayRef,
                                      c10::IntArrayRef, c10::IntArrayRef, c10::IntArrayRef,
                                      std::int64_t, std::string_view, Scalars,
                                      std::optional<std::string_view>);

template <typename Signature>
std::optional<c10::TypedOperatorHandle<Signature>> fused_kernel(const char* name) {
  const auto found = c10::Dispatcher::singleton().findSchema({name, ""});
  if (!found) return std::nullopt;
  try {
    return found->typed<Signature>();
  } catch (const c10::Error&) {  // another signature than this program knows
    return std::nullopt;
  }
}

torch::Tensor fused(const torch::Tensor& input, const torch::Tensor& weight,
                    const torch::Tensor& bias, const ConvGeometry& geometry, double slope) {
  static const auto kPlain = fused_kernel<FusedConvolution>("mkldnn::_convolution_pointwise");
  static const auto kTransposed =
      fused_kernel<FusedTransposed>("mkldnn::_convolution_transpose_pointwise");
  const auto layout = layout_of(input, weight);
  const torch::Tensor x = input.contiguous(layout), w = weight.contiguous(layout);
  const Scalars slopes({c10::Scalar(slope)});
  if (geometry.transposed && kTransposed)
    return kTransposed->call(x, w, optional_bias(bias), geometry.padding, kZeros, geometry.stride,
                             kOnes, 1, "leaky_relu", slopes, "");
  if (!geometry.transposed && kPlain)
    return kPlain->call(x, w, optional_bias(bias), geometry.padding, geometry.stride, kOnes, 1,
                        "leaky_relu", slopes, "");
  return {};
}

void check_channels(const torch::Tensor& input, const torch::Tensor& weight,
                    const ConvGeometry& geometry) {
  TORCH_CHECK(input.dim() == 5 && weight.dim() == 5 &&
                  input.size(1) == weight.size(geometry.transposed ? 0 : 1),
              "a convolution with weights ", weight.sizes(), " cannot take ", input.sizes());
}

bool needs_graph(const torch::Tensor& tensor) { return tensor.defined() && tensor.requires_grad(); }

}  // namespace

torch::Tensor convolution(const torch::Tensor& input, const torch::Tensor& weight,
                          const torch::Tensor& bias, const ConvGeometry& geometry) {
  check_channels(input, weight, geometry);
  if (!runs_on_onednn(input, weight))
    return torch::convolution(input, weight, bias, geometry.stride, geometry.padding, kOnes,
                              geometry.transposed, kZeros, 1);
  if (torch::GradMode::is_enabled() &&
      (needs_graph(input) || needs_graph(weight) || needs_graph(bias)))
    return OneDnnConvolution::apply(input, weight, bias, geometry);
  return onednn_convolution(input, weight, bias, geometry);
}

ConvGradients convolution_gradients(const torch::Tensor& output, const torch::Tensor& input,
                                    const torch::Tensor& weight, const ConvGeometry& geometry,
                                    const WantedGradients& wanted) {
  const torch::NoGradGuard no_graph;
  if (runs_on_onednn(input, weight))
    return onednn_gradients(output, input, weight, geometry, wanted);
  const std::vector<std::int64_t> bias_size = {weight.size(geometry.transposed ? 1 : 0)};
  const auto [of_input, of_weight, of_bias] = torch::convolution_backward(
      output, input, weight,
      wanted.bias ? at::OptionalIntArrayRef(bias_size) : at::OptionalIntArrayRef(), geometry.stride,
      geometry.padding, kOnes, geometry.transposed, kZeros, 1,
      std::array<bool, 3>{wanted.input, wanted.weight, wanted.bias});
  return {of_input, of_weight, of_bias};
}

torch::Tensor activated_convolution(const torch::Tensor& input, const torch::Tensor& weight,
                                    const torch::Tensor& bias, const ConvGeometry& geometry,
                                    double slope) {
  check_channels(input, weight, geometry);
  if (runs_on_onednn(input, weight) && !torch::GradMode::is_enabled()) {
    const torch::Tensor result = fused(input, weight, bias, geometry, slope);
    if (result.defined()) return result;
  }
  return torch::leaky_relu_(convolution(input, weight, bias, geometry), slope);
}

}  // namespace lamp
