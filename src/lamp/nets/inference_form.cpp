// Walks the chain, joins a convolution with the norm and activation behind it, and packs it.
#include "lamp/nets/inference_form.h"

#include <torch/nn/modules/batchnorm.h>
#include <torch/types.h>

#include <utility>

#include "lamp/nets/blocks.h"

namespace lamp {
namespace {

using ConvLayer = ModuleLayer<GuardedConv3dImpl>;
using NormLayer = ModuleLayer<DeferrableBatchNorm3dImpl>;

std::shared_ptr<Layer> joined(Layer& conv_layer, Layer& norm_layer) {
  auto* conv = dynamic_cast<ConvLayer*>(&conv_layer);
  auto* norm = dynamic_cast<NormLayer*>(&norm_layer);
  if (conv == nullptr || norm == nullptr || conv->then()) return nullptr;
  const auto module = std::dynamic_pointer_cast<GuardedConv3dImpl>(conv->named_module());
  const auto statistics =
      std::dynamic_pointer_cast<torch::nn::BatchNorm3dImpl>(norm->named_module());
  const GuardedConv3d folded = fold_norm(*module, *statistics);
  if (norm->then() && !is_activation(norm->then())) return as_layer(folded, norm->then());
  return inference_conv(folded, static_cast<bool>(norm->then()));
}

// A convolution of either kind without a norm, alone or with its activation.
template <typename Conv>
std::shared_ptr<Layer> packed(Layer& layer) {
  using Module = typename Conv::ContainedType;
  auto* conv = dynamic_cast<ModuleLayer<Module>*>(&layer);
  if (conv == nullptr || (conv->then() && !is_activation(conv->then()))) return nullptr;
  return inference_conv(Conv(std::dynamic_pointer_cast<Module>(conv->named_module())),
                        static_cast<bool>(conv->then()));
}

}  // namespace

Network inference_form(const Network& network) {
  Links links;
  const auto& layers = network.chain->layers();
  const auto& names = network.chain->names();
  for (std::size_t i = 0; i < layers.size(); ++i) {
    std::shared_ptr<Layer> next =
        i + 1 < layers.size() ? joined(*layers[i], *layers[i + 1]) : nullptr;
    const std::size_t used = next ? 2 : 1;
    if (!next) next = layers[i]->inference_form();
    if (!next) next = packed<GuardedConv3d>(*layers[i]);
    if (!next) next = packed<GuardedConvTranspose3d>(*layers[i]);
    if (!next) next = layers[i];
    links.push_back({names[i], std::move(next)});
    i += used - 1;
  }
  Network form{.config = network.config,
               .chain = std::make_shared<Sequence>(std::move(links)),
               .stride_multiple = network.stride_multiple};
  form.chain->eval();
  if (network.channels_last) form.use_channels_last();
  return form;
}

}  // namespace lamp
