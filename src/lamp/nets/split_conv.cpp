// One autograd function around the kernels of conv_kernel.h.
#include "lamp/nets/split_conv.h"

#include <ATen/autocast_mode.h>
#include <torch/autograd.h>
#include <torch/custom_class.h>

namespace lamp {
namespace {

struct Parts : torch::CustomClassHolder {
  torch::Tensor weight;
  torch::Tensor bias;
  ConvGeometry geometry;
  std::shared_ptr<WeightTasks> tasks;

  ConvGradients gradients(const torch::Tensor& output, const torch::Tensor& input,
                          bool of_weights) const {
    const c10::impl::ExcludeDispatchKeyGuard no_autocast(c10::autocast_dispatch_keyset);
    return convolution_gradients(
        output, input, weight.detach().to(input.scalar_type()), geometry,
        {.input = !of_weights, .weight = of_weights, .bias = of_weights && bias.defined()});
  }
};

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

struct SplitConvolution : torch::autograd::Function<SplitConvolution> {
  static torch::Tensor forward(AutogradContext* context, const torch::Tensor& input,
                               const c10::intrusive_ptr<Parts>& parts) {
    const c10::impl::ExcludeDispatchKeyGuard no_autocast(c10::autocast_dispatch_keyset);
    context->save_for_backward({input});
    context->saved_data["parts"] = c10::IValue::make_capsule(
        c10::static_intrusive_pointer_cast<torch::CustomClassHolder>(parts));
    const torch::Tensor bias =
        parts->bias.defined() ? parts->bias.detach().to(input.scalar_type()) : torch::Tensor();
    return convolution(input, parts->weight.detach().to(input.scalar_type()), bias,
                       parts->geometry);
  }

  static variable_list backward(AutogradContext* context, const variable_list& outputs) {
    const torch::Tensor input = context->get_saved_variables()[0];
    const auto parts =
        c10::static_intrusive_pointer_cast<Parts>(context->saved_data["parts"].toCapsule());
    const torch::Tensor output = outputs[0].detach();
    parts->tasks->push_back([parts, output, input = input.detach()] {
      const ConvGradients gradients = parts->gradients(output, input, /*of_weights=*/true);
      if (parts->weight.requires_grad()) add_gradient(parts->weight, gradients.weight);
      if (parts->bias.defined() && parts->bias.requires_grad())
        add_gradient(parts->bias, gradients.bias);
    });
    if (!context->needs_input_grad(0)) return {torch::Tensor(), torch::Tensor()};
    return {parts->gradients(output, input, /*of_weights=*/false).input, torch::Tensor()};
  }
};

}  // namespace

void add_gradient(const torch::Tensor& parameter, const torch::Tensor& gradient) {
  const torch::Tensor more = gradient.to(parameter.scalar_type());
  torch::Tensor& sum = parameter.mutable_grad();
  if (sum.defined())
    sum.add_(more);
  else
    sum = more;
}

torch::Tensor split_convolution(const torch::Tensor& input, const torch::Tensor& weight,
                                const torch::Tensor& bias, const ConvGeometry& geometry,
                                const std::shared_ptr<WeightTasks>& tasks) {
  auto parts = c10::make_intrusive<Parts>();
  parts->weight = weight;
  parts->bias = bias;
  parts->geometry = geometry;
  parts->tasks = tasks;
  // Without a gradient of its own the input would not call backward for the weights.
  const torch::Tensor leaf = input.requires_grad() ? input : input.detach().requires_grad_();
  return SplitConvolution::apply(leaf, parts);
}

}  // namespace lamp
