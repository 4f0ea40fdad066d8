// One reduction a step in the normal case; the search runs only after a failure.
#include "lamp/execution/numeric_guard.h"

#include <torch/utils.h>

#include <cmath>
#include <map>
#include <set>
#include <vector>

namespace lamp {
namespace {

bool finite(const torch::Tensor& tensor) { return torch::isfinite(tensor).all().item<bool>(); }

std::map<std::string, std::vector<torch::Tensor>> by_device(
    const std::vector<torch::Tensor>& tensors) {
  std::map<std::string, std::vector<torch::Tensor>> groups;
  for (const torch::Tensor& tensor : tensors) groups[tensor.device().str()].push_back(tensor);
  return groups;
}

}  // namespace

double gradient_norm(const NamedParameters& parameters) {
  std::vector<torch::Tensor> gradients;
  for (const auto& [name, parameter] : parameters)
    if (parameter.grad().defined()) gradients.push_back(parameter.grad());
  if (gradients.empty()) return 0;
  double squares = 0;
  for (const auto& [device, local] : by_device(gradients)) {
    const double norm =
        torch::stack(at::_foreach_norm(local, 2, torch::kFloat64)).norm().item<double>();
    if (gradients.size() == local.size()) return norm;
    squares += norm * norm;
  }
  return std::sqrt(squares);
}

std::string first_non_finite_layer(Network& network, const torch::Tensor& input) {
  const torch::NoGradGuard no_grad;
  if (!finite(input)) return "the input";
  std::set<std::string> devices;
  for (const auto& parameter : network.chain->parameters())
    devices.insert(parameter.device().str());
  if (devices.size() > 1) return "a layer (on one device it would be named)";
  LocalSkips skips;
  torch::Tensor tensor = network.pad(input.to(network.chain->parameters().front().device()));
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
