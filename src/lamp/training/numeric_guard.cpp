// One reduction a step in the normal case; the search runs only after a failure.
#include "lamp/training/numeric_guard.h"

#include <torch/torch.h>

#include <cmath>

namespace lamp {
namespace {

bool finite(const torch::Tensor& tensor) { return torch::isfinite(tensor).all().item<bool>(); }

}  // namespace

double gradient_norm(const NamedParameters& parameters) {
  std::vector<torch::Tensor> gradients;
  for (const auto& [name, parameter] : parameters)
    if (parameter.grad().defined()) gradients.push_back(parameter.grad());
  if (gradients.empty()) return 0;
  return torch::stack(at::_foreach_norm(gradients, 2, torch::kFloat64)).norm().item<double>();
}

std::string first_non_finite_layer(Network& network, const torch::Tensor& input) {
  const torch::NoGradGuard no_grad;
  if (!finite(input)) return "the input";
  LocalSkips skips;
  torch::Tensor tensor = network.pad(input);
  for (std::size_t i = 0; i < network.chain->size(); ++i) {
    tensor = network.chain->run(tensor, i, i + 1, skips);
    if (!finite(tensor)) return "layer " + network.chain->names()[i];
  }
  return "the loss";
}

std::string first_non_finite_gradient(const NamedParameters& parameters) {
  for (auto item = parameters.rbegin(); item != parameters.rend(); ++item)
    if (item->second.grad().defined() && !finite(item->second.grad())) return item->first;
  return "";
}

}  // namespace lamp
