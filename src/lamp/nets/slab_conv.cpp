// One autograd function around the kernels of conv_kernel.h and the exchanges of slab_group.h.
#include "lamp/nets/slab_conv.h"

#include <ATen/autocast_mode.h>
#include <torch/autograd.h>
#include <torch/custom_class.h>
#include <torch/utils.h>

#include <utility>
#include <vector>

#include "lamp/nets/split_conv.h"

namespace lamp {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

at::MemoryFormat slab_format(const torch::Tensor& input, const torch::Tensor& weight) {
  constexpr auto kLast = at::MemoryFormat::ChannelsLast3d;
  return input.suggest_memory_format() == kLast || weight.suggest_memory_format() == kLast
             ? kLast
             : at::MemoryFormat::Contiguous;
}

// The owned planes; a copy where there are others, since what a function returns is no view.
torch::Tensor owned_planes(const SlabConv& slab, torch::Tensor made) {
  if (slab.made == slab.owned) return made;
  return narrowed(made, slab.input.axis,
                  {slab.owned.first - slab.made.first, slab.owned.last - slab.made.first})
      .clone();
}

// The gradient of what the kernel made: zeros where the planes are not this slab's.
torch::Tensor made_gradient(const SlabConv& slab, const torch::Tensor& owned) {
  if (slab.made == slab.owned) return owned;
  std::vector<std::int64_t> sizes = owned.sizes().vec();
  sizes[static_cast<std::size_t>(slab.input.axis)] = slab.made.count();
  torch::Tensor made =
      torch::empty(sizes, owned.options().memory_format(owned.suggest_memory_format()));
  made.zero_();
  narrowed(made, slab.input.axis,
           {slab.owned.first - slab.made.first, slab.owned.last - slab.made.first})
      .copy_(owned);
  return made;
}

struct SlabParts : torch::CustomClassHolder {
  SlabConv slab;
  std::vector<torch::Tensor> halo;
  // With tasks only:
  torch::Tensor weight, bias;  // leaves
  bool of_input = true;        // whether anybody wants the input's gradient
  std::shared_ptr<WeightTasks> tasks;

  ConvGradients gradients(const torch::Tensor& output, const torch::Tensor& own,
                          const torch::Tensor& kernel, const WantedGradients& wanted) const {
    const c10::impl::ExcludeDispatchKeyGuard no_autocast(c10::autocast_dispatch_keyset);
    const torch::Tensor joined =
        with_halo(slab.input, slab.group->rank(), own, halo, slab_format(own, kernel));
    return convolution_gradients(made_gradient(slab, output), joined, kernel, slab.geometry,
                                 wanted);
  }
  torch::Tensor input_gradient(const ConvGradients& gradients) const {
    return return_halo(*slab.group, slab.input, gradients.input);
  }
};

c10::intrusive_ptr<SlabParts> parts_in(const AutogradContext& context) {
  return c10::static_intrusive_pointer_cast<SlabParts>(context.saved_data.at("parts").toCapsule());
}

torch::Tensor run_parts(SlabParts& parts, const torch::Tensor& input, const torch::Tensor& weight,
                        const torch::Tensor& bias) {
  const c10::impl::ExcludeDispatchKeyGuard no_autocast(c10::autocast_dispatch_keyset);
  const SlabConv& slab = parts.slab;
  parts.halo = fetch_halo(*slab.group, slab.input, input);
  const torch::Tensor joined =
      with_halo(slab.input, slab.group->rank(), input, parts.halo, slab_format(input, weight));
  // What is kept holds the planes alone, not the tensors of which they are views.
  for (torch::Tensor& planes : parts.halo)
    if (planes.defined()) planes = planes.clone();
  return owned_planes(slab, convolution(joined, weight, bias, slab.geometry));
}

struct SlabConvolution : torch::autograd::Function<SlabConvolution> {
  static torch::Tensor forward(AutogradContext* context, const torch::Tensor& input,
                               const torch::Tensor& weight,
                               const std::optional<torch::Tensor>& bias,
                               const c10::intrusive_ptr<SlabParts>& parts) {
    torch::Tensor result = run_parts(*parts, input, weight, bias.value_or(torch::Tensor()));
    context->save_for_backward({input, weight});
    context->saved_data["parts"] = c10::IValue::make_capsule(parts);
    context->saved_data["bias"] = bias.has_value();
    return result;
  }

  static variable_list backward(AutogradContext* context, const variable_list& outputs) {
    const auto saved = context->get_saved_variables();
    const auto parts = parts_in(*context);
    const bool of_input = context->needs_input_grad(0);
    const ConvGradients gradients =
        parts->gradients(outputs[0], saved[0], saved[1],
                         {of_input, context->needs_input_grad(1),
                          context->saved_data["bias"].toBool() && context->needs_input_grad(2)});
    return {of_input ? parts->input_gradient(gradients) : torch::Tensor(), gradients.weight,
            gradients.bias, torch::Tensor()};
  }
};

struct SplitSlabConvolution : torch::autograd::Function<SplitSlabConvolution> {
  static torch::Tensor forward(AutogradContext* context, const torch::Tensor& input,
                               const c10::intrusive_ptr<SlabParts>& parts) {
    const torch::Tensor bias =
        parts->bias.defined() ? parts->bias.detach().to(input.scalar_type()) : torch::Tensor();
    torch::Tensor result =
        run_parts(*parts, input, parts->weight.detach().to(input.scalar_type()), bias);
    context->save_for_backward({input});
    context->saved_data["parts"] = c10::IValue::make_capsule(parts);
    return result;
  }

  static variable_list backward(AutogradContext* context, const variable_list& outputs) {
    const torch::Tensor input = context->get_saved_variables()[0].detach();
    const auto parts = parts_in(*context);
    const torch::Tensor output = outputs[0].detach();
    parts->tasks->push_back([parts, output, input] {
      const bool has_bias = parts->bias.defined();
      const ConvGradients gradients =
          parts->gradients(output, input, parts->weight.detach().to(input.scalar_type()),
                           {.input = false, .weight = true, .bias = has_bias});
      if (parts->weight.requires_grad()) add_gradient(parts->weight, gradients.weight);
      if (has_bias && parts->bias.requires_grad()) add_gradient(parts->bias, gradients.bias);
    });
    if (!parts->of_input) return {torch::Tensor(), torch::Tensor()};
    return {parts->input_gradient(
                parts->gradients(output, input, parts->weight.detach().to(input.scalar_type()),
                                 {.input = true, .weight = false, .bias = false})),
            torch::Tensor()};
  }
};

}  // namespace

std::optional<PlaneRule> plane_rule(c10::IntArrayRef weight, const ConvGeometry& geometry,
                                    std::int64_t axis) {
  const auto place = static_cast<std::size_t>(axis - 2);
  const PlaneRule rule{.kernel = weight[place + 2],
                       .stride = geometry.stride[place],
                       .padding = geometry.padding[place],
                       .transposed = geometry.transposed};
  if (rule.transposed && rule.stride > rule.kernel) return std::nullopt;
  return rule;
}

SlabConv slab_conv(RunContext& run, c10::IntArrayRef weight, const ConvGeometry& geometry) {
  SlabGroup& group = *run.slabs;
  const auto rule = plane_rule(weight, geometry, group.axis());
  TORCH_CHECK(rule, "a transposed convolution with a stride above its kernel cannot run on slabs");
  const std::int64_t planes = std::exchange(run.planes, rule->output_planes(run.planes));
  const std::vector<PlaneRange> outputs = group.cut().owned(run.planes);
  SlabConv slab{.group = run.slabs,
                .input = {.axis = group.axis(),
                          .planes = planes,
                          .owned = group.cut().owned(planes),
                          .needed = {}},
                .geometry = geometry,
                .made = {},
                .owned = group.owned(run.planes)};
  for (const PlaneRange& output : outputs)
    slab.input.needed.push_back(rule->needed(output, planes));
  const PlaneRange& needed = slab.input.needed[static_cast<std::size_t>(group.rank())];
  slab.made = rule->transposed ? rule->dense_of(needed) : slab.owned;
  slab.geometry.padding[static_cast<std::size_t>(group.axis() - 2)] = 0;
  return slab;
}

torch::Tensor run_on_slab(const SlabConv& slab, const torch::Tensor& input,
                          const torch::Tensor& weight, const SlabKernel& kernel) {
  const auto halo = fetch_halo(*slab.group, slab.input, input);
  const torch::Tensor joined =
      with_halo(slab.input, slab.group->rank(), input, halo, slab_format(input, weight));
  return owned_planes(slab, kernel(joined, slab.geometry));
}

torch::Tensor slab_convolution(const SlabConv& slab, const torch::Tensor& input,
                               const torch::Tensor& weight, const torch::Tensor& bias) {
  auto parts = c10::make_intrusive<SlabParts>();
  parts->slab = slab;
  return SlabConvolution::apply(input, weight, bias.defined() ? std::optional(bias) : std::nullopt,
                                parts);
}

torch::Tensor split_slab_convolution(const SlabConv& slab, const torch::Tensor& input,
                                     const torch::Tensor& weight, const torch::Tensor& bias,
                                     const std::shared_ptr<WeightTasks>& tasks) {
  auto parts = c10::make_intrusive<SlabParts>();
  parts->slab = slab;
  parts->weight = weight;
  parts->bias = bias;
  parts->tasks = tasks;
  parts->of_input = input.requires_grad();
  return SplitSlabConvolution::apply(
      input.requires_grad() ? input : input.detach().requires_grad_(), parts);
}

}  // namespace lamp
