// Precision and layout are set once for the weights and once for each input.
#include "lamp/inference/predictor.h"

#include <torch/nn/modules/batchnorm.h>
#include <torch/types.h>
#include <torch/utils.h>

#include "lamp/base/interrupt.h"

namespace lamp {

void place_network(Network& network, const Placement& placement) {
  network.channels_last = placement.layout == Layout::kChannelsLast;
  network.chain->eval();
  network.chain->to(placement.device);
  const torch::NoGradGuard no_gradients;
  for (const auto& module : network.chain->modules(/*include_self=*/false)) {
    if (module->as<torch::nn::BatchNorm3d>() != nullptr) continue;
    for (auto& parameter : module->parameters(/*recurse=*/false)) {
      torch::Tensor placed = parameter.to(placement.dtype);
      if (placed.dim() == 5) placed = placed.contiguous(memory_format(placement.layout));
      parameter.set_data(placed);
    }
  }
}

torch::Tensor chain_input(const Network& network, const torch::Tensor& image, c10::Device device,
                          c10::ScalarType dtype) {
  return network.laid_out(network.pad(image.to(device, dtype)));
}

Predictor make_predictor(const Network& network, c10::Device device, c10::ScalarType dtype) {
  return [network, device, dtype](const torch::Tensor& image) {
    const torch::InferenceMode no_gradients;
    torch::Tensor tensor = chain_input(network, image, device, dtype);
    LocalSkips skips;
    for (std::size_t link = 0; link < network.chain->size(); ++link) {
      throw_if_interrupted("the case in work is not written");
      tensor = network.chain->run(std::move(tensor), link, link + 1, skips);
    }
    return network.crop(tensor, image).to(torch::kFloat32);
  };
}

}  // namespace lamp
