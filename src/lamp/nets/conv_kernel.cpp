// One autograd function around oneDNN's kernels and around pieces; everything else is torch's.
#include "lamp/nets/conv_kernel.h"

#include <ATen/Context.h>
#include <torch/autograd.h>
#include <torch/utils.h>

#include <array>
#include <optional>

#include "lamp/nets/conv_pieces.h"
#include "lamp/nets/onednn_conv.h"

namespace lamp {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

bool on_onednn(const torch::Tensor& input, const torch::Tensor& weight) {
  return have_onednn_convolution() && runs_on_onednn(input, weight);
}

torch::Tensor torch_convolution(const torch::Tensor& input, const torch::Tensor& weight,
                                const torch::Tensor& bias, const ConvGeometry& geometry) {
  return torch::convolution(input, weight, bias, geometry.stride, geometry.padding, kOnes,
                            geometry.transposed, kZeros, 1);
}

torch::Tensor without_graph(const torch::Tensor& input, const torch::Tensor& weight,
                            const torch::Tensor& bias, const ConvGeometry& geometry) {
  if (is_too_large(input.sizes(), weight.sizes(), geometry))
    return convolution_by_pieces(input, weight, bias, geometry);
  return on_onednn(input, weight) ? onednn_convolution(input, weight, bias, geometry)
                                  : torch_convolution(input, weight, bias, geometry);
}

struct OwnConvolution : torch::autograd::Function<OwnConvolution> {
  static torch::Tensor forward(AutogradContext* context, const torch::Tensor& input,
                               const torch::Tensor& weight,
                               const std::optional<torch::Tensor>& bias,
                               const ConvGeometry& geometry) {
    context->save_for_backward({input, weight});
    context->saved_data["stride"] = geometry.stride;
    context->saved_data["padding"] = geometry.padding;
    context->saved_data["transposed"] = geometry.transposed;
    context->saved_data["bias"] = bias.has_value();
    return without_graph(input, weight, bias.value_or(torch::Tensor()), geometry);
  }

  static variable_list backward(AutogradContext* context, const variable_list& outputs) {
    const auto saved = context->get_saved_variables();
    const ConvGeometry geometry{context->saved_data["stride"].toIntVector(),
                                context->saved_data["padding"].toIntVector(),
                                context->saved_data["transposed"].toBool()};
    const WantedGradients wanted{
        context->needs_input_grad(0), context->needs_input_grad(1),
        context->saved_data["bias"].toBool() && context->needs_input_grad(2)};
    const ConvGradients gradients =
        convolution_gradients(outputs[0], saved[0], saved[1], geometry, wanted);
    return {gradients.input, gradients.weight, gradients.bias, torch::Tensor()};
  }
};

void check_channels(const torch::Tensor& input, const torch::Tensor& weight,
                    const ConvGeometry& geometry) {
  TORCH_CHECK(input.dim() == 5 && weight.dim() == 5 &&
                  input.size(1) == weight.size(geometry.transposed ? 0 : 1),
              "a convolution with weights ", weight.sizes(), " cannot take ", input.sizes());
}

bool needs_graph(const torch::Tensor& tensor) { return tensor.defined() && tensor.requires_grad(); }

}  // namespace

PlaneRule plane_rule(c10::IntArrayRef weight, const ConvGeometry& geometry, std::int64_t axis) {
  const auto place = static_cast<std::size_t>(axis - 2);
  return {.kernel = weight[place + 2],
          .stride = geometry.stride[place],
          .padding = geometry.padding[place],
          .transposed = geometry.transposed};
}

at::MemoryFormat layout_of_both(const torch::Tensor& input, const torch::Tensor& weight) {
  constexpr auto kLast = at::MemoryFormat::ChannelsLast3d;
  return input.suggest_memory_format() == kLast || weight.suggest_memory_format() == kLast
             ? kLast
             : at::MemoryFormat::Contiguous;
}

std::vector<std::int64_t> output_sizes(c10::IntArrayRef input, c10::IntArrayRef weight,
                                       const ConvGeometry& geometry) {
  std::vector<std::int64_t> sizes = {input[0], weight[geometry.transposed ? 1 : 0]};
  for (std::int64_t axis = 2; axis < 5; ++axis)
    sizes.push_back(
        plane_rule(weight, geometry, axis).output_planes(input[static_cast<std::size_t>(axis)]));
  return sizes;
}

bool runs_on_onednn(const torch::Tensor& input, const torch::Tensor& weight) {
  return input.is_cpu() && input.scalar_type() == torch::kFloat32 &&
         weight.scalar_type() == torch::kFloat32 && input.dim() == 5 && input.numel() > 0 &&
         at::hasMKLDNN() && at::globalContext().userEnabledMkldnn();
}

torch::Tensor convolution(const torch::Tensor& input, const torch::Tensor& weight,
                          const torch::Tensor& bias, const ConvGeometry& geometry) {
  check_channels(input, weight, geometry);
  const bool own =
      on_onednn(input, weight) || is_too_large(input.sizes(), weight.sizes(), geometry);
  const bool graph = torch::GradMode::is_enabled() &&
                     (needs_graph(input) || needs_graph(weight) || needs_graph(bias));
  if (own && graph)
    return OwnConvolution::apply(input, weight, bias.defined() ? std::optional(bias) : std::nullopt,
                                 geometry);
  return without_graph(input, weight, bias, geometry);
}

ConvGradients convolution_gradients(const torch::Tensor& output, const torch::Tensor& input,
                                    const torch::Tensor& weight, const ConvGeometry& geometry,
                                    const WantedGradients& wanted) {
  const torch::NoGradGuard no_graph;
  if (is_too_large(input.sizes(), weight.sizes(), geometry))
    return gradients_by_pieces(output, input, weight, geometry, wanted);
  if (on_onednn(input, weight)) return onednn_gradients(output, input, weight, geometry, wanted);
  const std::vector<std::int64_t> bias_size = {weight.size(geometry.transposed ? 1 : 0)};
  const auto [of_input, of_weight, of_bias] = torch::convolution_backward(
      output, input, weight,
      wanted.bias ? at::OptionalIntArrayRef(bias_size) : at::OptionalIntArrayRef(), geometry.stride,
      geometry.padding, kOnes, geometry.transposed, kZeros, 1,
      std::array<bool, 3>{wanted.input, wanted.weight, wanted.bias});
  return {of_input, of_weight, of_bias};
}

}  // namespace lamp
