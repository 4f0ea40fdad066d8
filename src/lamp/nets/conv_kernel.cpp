// One autograd function around oneDNN's kernels; everything else is torch's.
#include "lamp/nets/conv_kernel.h"

#include <ATen/Context.h>
#include <torch/torch.h>

#include <array>
#include <optional>

#include "lamp/nets/onednn_conv.h"

namespace lamp {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

const std::vector<std::int64_t> kOnes(3, 1);
const std::vector<std::int64_t> kZeros(3, 0);

struct OneDnnConvolution : torch::autograd::Function<OneDnnConvolution> {
  static torch::Tensor forward(AutogradContext* context, const torch::Tensor& input,
                               const torch::Tensor& weight,
                               const std::optional<torch::Tensor>& bias,
                               const ConvGeometry& geometry) {
    context->save_for_backward({input, weight});
    context->saved_data["stride"] = geometry.stride;
    context->saved_data["padding"] = geometry.padding;
    context->saved_data["transposed"] = geometry.transposed;
    context->saved_data["bias"] = bias.has_value();
    return onednn_convolution(input, weight, bias.value_or(torch::Tensor()), geometry);
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
        onednn_gradients(outputs[0], saved[0], saved[1], geometry, wanted);
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

bool runs_on_onednn(const torch::Tensor& input, const torch::Tensor& weight) {
  return input.is_cpu() && input.scalar_type() == torch::kFloat32 &&
         weight.scalar_type() == torch::kFloat32 && input.dim() == 5 && input.numel() > 0 &&
         at::hasMKLDNN() && at::globalContext().userEnabledMkldnn();
}

torch::Tensor convolution(const torch::Tensor& input, const torch::Tensor& weight,
                          const torch::Tensor& bias, const ConvGeometry& geometry) {
  check_channels(input, weight, geometry);
  if (!have_onednn_convolution() || !runs_on_onednn(input, weight))
    return torch::convolution(input, weight, bias, geometry.stride, geometry.padding, kOnes,
                              geometry.transposed, kZeros, 1);
  if (torch::GradMode::is_enabled() &&
      (needs_graph(input) || needs_graph(weight) || needs_graph(bias)))
    return OneDnnConvolution::apply(input, weight,
                                    bias.defined() ? std::optional(bias) : std::nullopt, geometry);
  return onednn_convolution(input, weight, bias, geometry);
}

ConvGradients convolution_gradients(const torch::Tensor& output, const torch::Tensor& input,
                                    const torch::Tensor& weight, const ConvGeometry& geometry,
                                    const WantedGradients& wanted) {
  const torch::NoGradGuard no_graph;
  if (have_onednn_convolution() && runs_on_onednn(input, weight))
    return onednn_gradients(output, input, weight, geometry, wanted);
  const std::vector<std::int64_t> bias_size = {weight.size(geometry.transposed ? 1 : 0)};
  const auto [of_input, of_weight, of_bias] = torch::convolution_backward(
      output, input, weight,
      wanted.bias ? at::OptionalIntArrayRef(bias_size) : at::OptionalIntArrayRef(), geometry.stride,
      geometry.padding, kOnes, geometry.transposed, kZeros, 1,
      std::array<bool, 3>{wanted.input, wanted.weight, wanted.bias});
  return {of_input, of_weight, of_bias};
}

}  // namespace lamp
