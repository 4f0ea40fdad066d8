// Precision and layout are set once for the weights and once for each input.
#include "lamp/inference/predictor.h"

#include <torch/torch.h>

#include "lamp/base/interrupt.h"
#include "lamp/nets/precision.h"

namespace lamp {

c10::ScalarType parse_precision(const std::string& text, c10::Device device) {
  switch (parse_precision(text, device.type())) {
    case Precision::kBf16:
      return torch::kBFloat16;
    case Precision::kFp16:
      return torch::kFloat16;
    case Precision::kFp32:
      break;
  }
  return torch::kFloat32;
}

c10::MemoryFormat layout_on(c10::Device device) {
  return device.is_cpu() ? c10::MemoryFormat::ChannelsLast3d : c10::MemoryFormat::Contiguous;
}

void place_network(const Network& network, c10::Device device, c10::ScalarType dtype) {
  network.chain->eval();
  network.chain->to(device);
  const torch::NoGradGuard no_gradients;
  for (const auto& module : network.chain->modules(/*include_self=*/false)) {
    if (module->as<torch::nn::BatchNorm3d>() != nullptr) continue;
    for (auto& parameter : module->parameters(/*recurse=*/false)) {
      torch::Tensor placed = parameter.to(dtype);
      if (placed.dim() == 5) placed = placed.contiguous(layout_on(device));
      parameter.set_data(placed);
    }
  }
}

Predictor make_predictor(const Network& network, c10::Device device, c10::ScalarType dtype) {
  return [network, device, dtype](const torch::Tensor& image) {
    const torch::InferenceMode no_gradients;
    // to(), not contiguous(): one channel counts as laid out either way, and torch would choose
    // NCDHW wherever that channel is concatenated later.
    torch::Tensor tensor = network.pad(image.to(device, dtype)).to(layout_on(device));
    LocalSkips skips;
    for (std::size_t link = 0; link < network.chain->size(); ++link) {
      throw_if_interrupted("the case in work is not written");
      tensor = network.chain->run(std::move(tensor), link, link + 1, skips);
    }
    return network.crop(tensor, image).to(torch::kFloat32);
  };
}

}  // namespace lamp
