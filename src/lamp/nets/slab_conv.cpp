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

// Owned planes among those that are made.
PlaneRange owned_of_made(const SlabConv& slab) {
  return {slab.owned.first - slab.planes.made.first, slab.owned.last - slab.planes.made.first};
}

// The owned planes; a copy where there are others, since what a function returns is no view.
torch::Tensor owned_planes(const SlabConv& slab, torch::Tensor made) {
  if (slab.planes.made == slab.owned) return made;
  return narrowed(made, slab.planes.input.axis, owned_of_made(slab)).clone();
}

// The gradient of what the kernel made: zeros where the planes are not this slab's.
torch::Tensor made_gradient(const SlabConv& slab, const torch::Tensor& owned) {
  if (slab.planes.made == slab.owned) return owned;
  std::vector<std::int64_t> sizes = owned.sizes().vec();
  sizes[static_cast<std::size_t>(slab.planes.input.axis)] = slab.planes.made.count();
  torch::Tensor made =
      torch::empty(sizes, owned.options().memory_format(owned.suggest_memory_format()));
  made.zero_();
  narrowed(made, slab.planes.input.axis, owned_of_made(slab)).copy_(owned);
  return made;
}

// What the backward pass needs besides the tensors that autograd saves.
struct SlabParts : torch::CustomClassHolder {
  SlabConv slab;
  std::vector<torch::Tensor> halo;
  bool of_input = true;  // whether anybody wants the input's gradient
  // Where the weights' gradients become tasks, the leaves; else undefined, null.
  torch::Tensor weight, bias;
  std::shared_ptr<WeightTasks> tasks;

  HaloGradients gradients(const torch::Tensor& output, const torch::Tensor& own,
                          const torch::Tensor& kernel, const WantedGradients& wanted) const {
    const torch::NoGradGuard no_graph;
    const c10::impl::ExcludeDispatchKeyGuard no_autocast(c10::autocast_dispatch_keyset);
    return gradients_with_halo(slab.planes, made_gradient(slab, output), own, halo, kernel, wanted);
  }
  void add_weight_gradients(const torch::Tensor& output, const torch::Tensor& own,
                            const torch::Tensor& kernel) const {
    const ConvGradients found =
        gradients(output, own, kernel, {.input = false, .weight = true, .bias = bias.defined()})
            .own;
    if (weight.requires_grad()) add_gradient(weight, found.weight);
    if (bias.defined() && bias.requires_grad()) add_gradient(bias, found.bias);
  }
};

// `weight` and `bias` are those of the kernel. With tasks they have no graph, and what the backward
// pass returns for them is undefined.
struct SlabConvolution : torch::autograd::Function<SlabConvolution> {
  static torch::Tensor forward(AutogradContext* context, const torch::Tensor& input,
                               const torch::Tensor& weight,
                               const std::optional<torch::Tensor>& bias,
                               const c10::intrusive_ptr<SlabParts>& parts) {
    const c10::impl::ExcludeDispatchKeyGuard no_autocast(c10::autocast_dispatch_keyset);
    const SlabConv& slab = parts->slab;
    parts->halo = fetch_halo(*slab.group, slab.planes.input, input);
    const auto kernel = [&](const torch::Tensor& planes, const ConvGeometry& geometry) {
      return convolution(planes, weight, bias.value_or(torch::Tensor()), geometry);
    };
    torch::Tensor result =
        owned_planes(slab, run_with_halo(slab.planes, input, parts->halo, weight, kernel));
    // What is kept holds the planes alone, not the tensors of which they are views.
    for (torch::Tensor& planes : parts->halo)
      if (planes.defined()) planes = planes.clone();
    context->save_for_backward({input, weight});
    context->saved_data["parts"] = c10::IValue::make_capsule(parts);
    context->saved_data["bias"] = bias.has_value();
    return result;
  }

  static variable_list backward(AutogradContext* context, const variable_list& outputs) {
    const auto saved = context->get_saved_variables();
    const auto parts =
        c10::static_intrusive_pointer_cast<SlabParts>(context->saved_data["parts"].toCapsule());
    const torch::Tensor input = saved[0].detach(), weight = saved[1].detach(),
                        output = outputs[0].detach();
    if (parts->tasks)
      parts->tasks->push_back(
          [parts, output, input, weight] { parts->add_weight_gradients(output, input, weight); });
    const WantedGradients wanted{
        parts->of_input, context->needs_input_grad(1),
        context->saved_data["bias"].toBool() && context->needs_input_grad(2)};
    HaloGradients found;
    if (wanted.input || wanted.weight || wanted.bias)
      found = parts->gradients(output, input, weight, wanted);
    if (parts->of_input)
      found.own.input = return_halo(*parts->slab.group, parts->slab.planes.input, found.own.input,
                                    std::move(found.halo));
    return {found.own.input, found.own.weight, found.own.bias, torch::Tensor()};
  }
};

std::optional<torch::Tensor> if_defined(const torch::Tensor& tensor) {
  return tensor.defined() ? std::optional(tensor) : std::nullopt;
}

}  // namespace

SlabConv slab_conv(RunContext& run, c10::IntArrayRef weight, const ConvGeometry& geometry) {
  SlabGroup& group = *run.slabs;
  const PlaneRule rule = plane_rule(weight, geometry, group.axis());
  TORCH_CHECK(!rule.leaves_gaps(),
              "a convolution with a stride above its kernel cannot run on slabs");
  const std::int64_t planes = std::exchange(run.planes, rule.output_planes(run.planes));
  const std::vector<PlaneRange> outputs = group.cut().owned(run.planes);
  SlabConv slab{.group = run.slabs,
                .planes = {.input = {.axis = group.axis(),
                                     .planes = planes,
                                     .owned = group.cut().owned(planes),
                                     .needed = {}},
                           .rank = group.rank(),
                           .geometry = geometry,
                           .made = {}},
                .owned = group.owned(run.planes)};
  std::vector<PlaneRange>& all_needed = slab.planes.input.needed;
  for (const PlaneRange& output : outputs) all_needed.push_back(rule.needed(output, planes));
  const PlaneRange& needed = all_needed[static_cast<std::size_t>(group.rank())];
  slab.planes.made = rule.transposed ? rule.dense_of(needed) : slab.owned;
  slab.planes.geometry.padding[static_cast<std::size_t>(group.axis() - 2)] = 0;
  return slab;
}

torch::Tensor run_on_slab(const SlabConv& slab, const torch::Tensor& input,
                          const torch::Tensor& weight, const SlabKernel& kernel) {
  const auto halo = fetch_halo(*slab.group, slab.planes.input, input);
  return owned_planes(slab, run_with_halo(slab.planes, input, halo, weight, kernel));
}

torch::Tensor slab_convolution(const SlabConv& slab, const torch::Tensor& input,
                               const torch::Tensor& weight, const torch::Tensor& bias) {
  auto parts = c10::make_intrusive<SlabParts>();
  parts->slab = slab;
  parts->of_input = input.requires_grad();
  return SlabConvolution::apply(input, weight, if_defined(bias), parts);
}

torch::Tensor split_slab_convolution(const SlabConv& slab, const torch::Tensor& input,
                                     const torch::Tensor& weight, const torch::Tensor& bias,
                                     const std::shared_ptr<WeightTasks>& tasks) {
  auto parts = c10::make_intrusive<SlabParts>();
  parts->slab = slab;
  parts->of_input = input.requires_grad();
  parts->weight = weight;
  parts->bias = bias;
  parts->tasks = tasks;
  const auto in_dtype = [&](const torch::Tensor& leaf) {
    return leaf.defined() ? leaf.detach().to(input.scalar_type()) : leaf;
  };
  // Without a gradient of its own the input would not call backward for the weights.
  const torch::Tensor leaf = input.requires_grad() ? input : input.detach().requires_grad_();
  return SlabConvolution::apply(leaf, in_dtype(weight), if_defined(in_dtype(bias)), parts);
}

}  // namespace lamp
