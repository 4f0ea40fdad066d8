// One autograd function around torch's own convolution kernels.
#include "lamp/nets/split_conv.h"

#include <ATen/autocast_mode.h>
#include <torch/custom_class.h>
#include <torch/torch.h>

#include <array>
#include <tuple>
#include <utility>

namespace lamp {
namespace {

const std::vector<std::int64_t> kOnes(3, 1);
const std::vector<std::int64_t> kZeros(3, 0);

struct Parts : torch::CustomClassHolder {
  torch::Tensor weight;
  torch::Tensor bias;
  SplitShape shape;
  std::shared_ptr<WeightTasks> tasks;

  std::tuple<torch::Tensor, torch::Tensor, torch::Tensor> gradients(const torch::Tensor& output,
                                                                    const torch::Tensor& input,
                                                                    bool of_weights) const {
    const c10::impl::ExcludeDispatchKeyGuard no_autocast(c10::autocast_dispatch_keyset);
    const bool with_bias = of_weights && bias.defined();
    return torch::convolution_backward(
        output, input, weight.detach().to(input.scalar_type()),
        with_bias ? at::OptionalIntArrayRef(bias.sizes()) : std::nullopt, shape.stride,
        shape.padding, kOnes, shape.transposed, kZeros, 1,
        std::array<bool, 3>{!of_weights, of_weights, with_bias});
  }
};

void add_gradient(const torch::Tensor& parameter, const torch::Tensor& gradient) {
  const torch::Tensor more = gradient.to(parameter.scalar_type());
  torch::Tensor& sum = parameter.mutable_grad();
  if (sum.defined())
    sum.add_(more);
  else
    sum = more;
}

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
    return torch::convolution(input, parts->weight.detach().to(input.scalar_type()), bias,
                              parts->shape.stride, parts->shape.padding, kOnes,
                              parts->shape.transposed, kZeros, 1);
  }

  static variable_list backward(AutogradContext* context, const variable_list& outputs) {
    const torch::Tensor input = context->get_saved_variables()[0];
    const auto parts =
        c10::static_intrusive_pointer_cast<Parts>(context->saved_data["parts"].toCapsule());
    const torch::Tensor output = outputs[0].detach();
    parts->tasks->push_back([parts, output, input = input.detach()] {
      const auto gradients = parts->gradients(output, input, /*of_weights=*/true);
      if (parts->weight.requires_grad()) add_gradient(parts->weight, std::get<1>(gradients));
      if (parts->bias.defined() && parts->bias.requires_grad())
        add_gradient(parts->bias, std::get<2>(gradients));
    });
    if (!context->needs_input_grad(0)) return {torch::Tensor(), torch::Tensor()};
    return {std::get<0>(parts->gradients(output, input, /*of_weights=*/false)), torch::Tensor()};
  }
};

}  // namespace

torch::Tensor split_convolution(const torch::Tensor& input, const torch::Tensor& weight,
                                const torch::Tensor& bias, const SplitShape& shape,
                                const std::shared_ptr<WeightTasks>& tasks) {
  auto parts = c10::make_intrusive<Parts>();
  parts->weight = weight;
  parts->bias = bias;
  parts->shape = shape;
  parts->tasks = tasks;
  // Without a gradient of its own the input would not call backward for the weights.
  const torch::Tensor leaf = input.requires_grad() ? input : input.detach().requires_grad_();
  return SplitConvolution::apply(leaf, parts);
}

}  // namespace lamp
