// One recorded pass over meta tensors; what stays referenced is what the graph keeps.
#include "lamp/profile/shape_costs.h"

#include <torch/autograd.h>
#include <torch/nn/modules/batchnorm.h>
#include <torch/nn/modules/conv.h>
#include <torch/nn/modules/linear.h>
#include <torch/types.h>
#include <torch/utils.h>

#include <algorithm>
#include <map>
#include <utility>

#include "lamp/profile/tensor_bytes.h"
#include "lamp/sequence/run_context.h"

namespace lamp {
namespace {

constexpr double kBackwardPasses = 2;  // of convolutions: gradients of input and weights
constexpr double kForwardMoves = 3;    // reads and writes of a tensor in a norm or sum
constexpr double kBackwardMoves = 5;
constexpr double kLossMoves = 8;
// What a convolution's backward pass holds besides, in copies of its weights: reordered for the
// gradient of the input, the gradient of the weights in the kernel's order and in the graph's; and
// parts that threads add up where there are samples to share (oneDNN's kernels, counted on two
// threads for U-Nets of width 64 to 512).
constexpr std::int64_t kWeightCopies = 3, kWeightCopiesOfSamples = 4;
// The loss works on so many voxels at once and holds so many numbers for each class and besides
// (objective/lamp_loss.cpp; measured for 2 to 30 classes).
constexpr std::int64_t kLossVoxels = std::int64_t{1} << 20;
constexpr std::int64_t kLossOfClass = 2, kLossBesides = 7;

class MetaSkips : public SkipPort {
 public:
  void stash(const std::string& name, torch::Tensor tensor) override {
    tensors[name] = std::move(tensor);
  }
  torch::Tensor pop(const std::string& name) override { return wanting(name); }
  std::map<std::string, torch::Tensor> tensors;

 private:
  torch::Tensor wanting(const std::string& name) {
    const torch::Tensor values = tensors.at(name).detach();
    tensors.erase(name);
    return values + torch::zeros({}, values.options().requires_grad(true));
  }
};

// Whether anyone but the caller's one handle refers to the tensor or its memory.
bool is_kept(const torch::Tensor& tensor) {
  return tensor.use_count() > 1 || tensor.storage().use_count() > 1;
}

// Multiplications and additions of the link's convolutions for one forward pass. output: what they
// make, which a shortcut stashes while it hands its input on.
double convolution_flops(const Layer& layer, const torch::Tensor& input,
                         const torch::Tensor& output) {
  double flops = 0;
  for (const torch::Tensor& weight : layer.parameters()) {
    if (weight.dim() != 5) continue;
    // A transposed convolution uses every weight once for each voxel of its input.
    const double at = static_cast<double>(
        std::min(input.numel() / input.size(1), output.numel() / output.size(1)));
    const bool halves = output.size(2) < input.size(2);
    const double voxels = halves ? static_cast<double>(output.numel() / output.size(1)) : at;
    flops += 2 * voxels * static_cast<double>(weight.numel());
  }
  return flops;
}

std::int64_t largest_kernel_bytes(const Layer& layer) {
  std::int64_t largest = 0;
  for (const torch::Tensor& weight : layer.parameters())
    if (weight.dim() == 5) largest = std::max(largest, bytes_of(weight));
  return largest;
}

// What one link's graph keeps.
struct Keeps {
  std::int64_t own = 0;  // neither its input nor its output
  bool keeps_input = false;
  bool keeps_output = false;
  bool hands_on = false;
};

// Bytes of results from within a link that are still there.
std::int64_t kept_within(const std::vector<c10::weak_intrusive_ptr<c10::StorageImpl>>& results,
                         const torch::Tensor& output) {
  std::int64_t bytes = 0;
  for (const auto& result : results) {
    const auto alive = result.lock();
    if (alive && alive.get() != output.storage().unsafeGetStorageImpl())
      bytes += static_cast<std::int64_t>(alive->nbytes());
  }
  return bytes;
}

LayerCosts layer_costs(const Layer& layer, const std::string& name, const torch::Tensor& input,
                       const torch::Tensor& output, const torch::Tensor& made,
                       const DeviceSpeed& speed, bool is_first) {
  LayerCosts costs{.name = name, .output_bytes = bytes_of(output)};
  for (const auto& parameter : layer.parameters()) costs.parameter_bytes += bytes_of(parameter);
  for (const auto& buffer : layer.buffers()) costs.buffer_bytes += bytes_of(buffer);
  const double flops = convolution_flops(layer, input, made);
  if (flops > 0) {
    costs.backward_workspace_bytes = weight_copies_bytes(layer, input.size(0));
    costs.input_half_workspace_bytes = largest_kernel_bytes(layer);
    costs.weight_half_workspace_bytes = costs.backward_workspace_bytes;
    costs.forward_s = flops / speed.flops_per_s;
    costs.weight_s = costs.forward_s;
    costs.backward_s = (is_first ? 1 : kBackwardPasses) * costs.forward_s;
    return costs;
  }
  const auto bytes = static_cast<double>(costs.output_bytes);
  if (output.storage().is_alias_of(input.storage())) {
    costs.backward_workspace_bytes = -costs.output_bytes;  // the gradient is handed on as well
    return costs;
  }
  costs.forward_s = kForwardMoves * bytes / speed.memory_bytes_per_s;
  costs.backward_s = kBackwardMoves * bytes / speed.memory_bytes_per_s;
  // A norm with its activation makes one gradient between the two.
  if (!layer.parameters().empty()) costs.backward_workspace_bytes = costs.output_bytes;
  return costs;
}

// Of the skips that a link pops. One without parameters concatenates, and then the parts of its
// gradient are views of it; or it adds up, and then both summands have one gradient.
void add_skip_gradients(NetworkCosts& costs, std::size_t link, std::int64_t input_bytes) {
  LayerCosts& layer = costs.layers[link];
  const bool is_plain = layer.parameter_bytes == 0;
  std::int64_t wanted = input_bytes;
  bool pops = false;
  for (SkipBytes& skip : costs.skips) {
    if (skip.to != link) continue;
    pops = true;
    if (skip.gradient_bytes == 0) continue;
    wanted += skip.bytes;
    skip.gradient_bytes = is_plain ? layer.output_bytes : skip.bytes;
    skip.shares_gradient = is_plain;
  }
  const std::int64_t made = layer.output_bytes == input_bytes ? layer.output_bytes : 0;
  if (pops) layer.backward_workspace_bytes = is_plain ? made - wanted : 0;
}

// The gradient of what the loss sees, and one sample's slab; where padding was cut off, the padded
// gradient comes after those and in place of the logits.
std::int64_t loss_workspace_bytes(const torch::Tensor& logits, std::int64_t seen) {
  const std::int64_t all = logits.numel() / logits.size(0) / logits.size(1);
  const std::int64_t voxels = seen == 0 ? all : seen;
  const std::int64_t slab =
      4 * std::min(voxels, kLossVoxels) * (kLossOfClass * logits.size(1) + kLossBesides);
  return std::max(bytes_of(logits) / all * voxels + slab, voxels < all ? bytes_of(logits) : 0);
}

void forget(torch::Tensor& tensor) {
  if (!tensor.defined()) return;
  const bool wants = tensor.requires_grad();
  tensor = torch::empty_like(tensor.detach(), torch::TensorOptions().device(c10::kMeta));
  tensor.requires_grad_(wants);
}

template <typename Module>
bool forget_weights(torch::nn::Module& module) {
  auto* found = module.as<Module>();
  if (found == nullptr) return false;
  forget(found->weight);
  forget(found->bias);
  return true;
}

}  // namespace

std::int64_t weight_copies_bytes(const Layer& layer, std::int64_t samples) {
  return (kWeightCopies + (samples > 1 ? kWeightCopiesOfSamples : 0)) * largest_kernel_bytes(layer);
}

void keep_shapes_only(Sequence& chain) {
  for (const auto& module : chain.modules(/*include_self=*/false)) {
    if (forget_weights<torch::nn::Conv3d>(*module) ||
        forget_weights<torch::nn::ConvTranspose3d>(*module) ||
        forget_weights<torch::nn::Linear>(*module))
      continue;
    if (forget_weights<torch::nn::BatchNorm3d>(*module)) {
      auto* norm = module->as<torch::nn::BatchNorm3d>();
      forget(norm->running_mean);
      forget(norm->running_var);
      forget(norm->num_batches_tracked);
    }
  }
}

NetworkCosts shape_costs(Sequence& chain, const std::vector<std::int64_t>& sizes,
                         const DeviceSpeed& speed, std::int64_t loss_voxels) {
  const torch::AutoGradMode with_gradients(true);
  std::vector<c10::weak_intrusive_ptr<c10::StorageImpl>> results;
  RunContext context{.shape_results = &results};
  const RunScope scope(context);
  MetaSkips skips;
  const auto options = torch::TensorOptions().device(c10::kMeta);
  torch::Tensor tensor = torch::empty(sizes, options);
  NetworkCosts costs{.samples = sizes.at(0), .input_bytes = bytes_of(tensor)};
  std::vector<Keeps> links(chain.size());
  for (std::size_t i = 0; i < chain.size(); ++i) {
    if (i > 0) tensor = tensor + torch::zeros({}, options.requires_grad(true));
    results.clear();
    torch::Tensor output = chain.run(tensor, i, i + 1, skips);
    links[i].hands_on = output.storage().is_alias_of(tensor.storage());
    torch::Tensor made = output;
    for (const Skip& skip : chain.skips())
      if (skip.from == i && links[i].hands_on) made = skips.tensors[skip.name];
    costs.layers.push_back(
        layer_costs(*chain.layers()[i], chain.names()[i], tensor, output, made, speed, i == 0));
    made.reset();
    add_skip_gradients(costs, i, bytes_of(tensor));
    std::vector<torch::autograd::Edge> graphs;  // without the stashed tensors themselves
    for (const Skip& skip : chain.skips())
      if (skip.from == i) {
        torch::Tensor& stashed = skips.tensors[skip.name];
        costs.skips.push_back({skip.name, skip.from, skip.to, bytes_of(stashed),
                               stashed.storage().is_alias_of(output.storage())});
        if (stashed.requires_grad())
          graphs.push_back(torch::autograd::impl::gradient_edge(stashed));
        else
          costs.skips.back().gradient_bytes = 0;
        stashed = torch::empty_like(stashed.detach());
      }
    links[i].own = kept_within(results, output);
    links[i].keeps_input = is_kept(tensor);
    const torch::Tensor next = torch::empty_like(output.detach());
    tensor.reset();
    links[i].keeps_output = is_kept(output);
    tensor = next;
  }
  bool behind = true;  // the loss keeps the last output
  for (std::size_t i = chain.size(); i-- > 0;) {
    LayerCosts& layer = costs.layers[i];
    layer.saved_bytes = links[i].own;
    if (links[i].hands_on) continue;
    layer.drops_output = !links[i].keeps_output && !behind;
    if (!layer.drops_output) layer.saved_bytes += layer.output_bytes;
    if (!links[i].keeps_output && behind) layer.handed_bytes = layer.output_bytes;
    behind = links[i].keeps_input;
  }
  for (std::size_t i = 1; i < chain.size(); ++i)
    if (links[i].hands_on) costs.layers[i].drops_output = costs.layers[i - 1].drops_output;
  costs.loss_workspace_bytes = loss_workspace_bytes(tensor, loss_voxels);
  costs.loss_s = kLossMoves * static_cast<double>(bytes_of(tensor)) / speed.memory_bytes_per_s;
  return costs;
}

}  // namespace lamp
