// One reduction a step in the normal case; the search runs only after a failure.
#include "lamp/execution/numeric_guard.h"

#include <ATen/Parallel.h>
#include <torch/utils.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <map>
#include <set>
#include <vector>

#include "lamp/base/errors.h"

namespace lamp {
namespace {

bool finite(const torch::Tensor& tensor) { return torch::isfinite(tensor).all().item<bool>(); }

std::map<std::string, std::vector<torch::Tensor>> by_device(
    const std::vector<torch::Tensor>& tensors) {
  std::map<std::string, std::vector<torch::Tensor>> groups;
  for (const torch::Tensor& tensor : tensors) groups[tensor.device().str()].push_back(tensor);
  return groups;
}

constexpr double kNoGradient = -1;
// More would be many threads for a moment on a machine with few cores.
constexpr int kMostThreadsOfNorm = 64;

// By parameter. Large ones are summed thread by thread: the number of threads decides on the bits.
std::vector<double> norms_by_parameter(const NamedParameters& parameters, int threads) {
  std::vector<torch::Tensor> gradients;
  for (const auto& [name, parameter] : parameters)
    if (parameter.grad().defined()) gradients.push_back(parameter.grad());
  const int threads_before = at::get_num_threads();
  if (threads != threads_before) at::set_num_threads(threads);
  std::vector<torch::Tensor> found;
  if (!gradients.empty()) found = at::_foreach_norm(gradients, 2, torch::kFloat64);
  if (threads != threads_before) at::set_num_threads(threads_before);
  std::vector<double> norms;
  auto next = found.begin();
  for (const auto& [name, parameter] : parameters)
    norms.push_back(parameter.grad().defined() ? (next++)->item<double>() : kNoGradient);
  return norms;
}

std::string bytes_of(const std::vector<double>& numbers) {
  return {reinterpret_cast<const char*>(numbers.data()), numbers.size() * sizeof(double)};
}

std::vector<double> numbers_of(const std::string& bytes, std::size_t count) {
  if (bytes.size() != count * sizeof(double))
    throw Error("norms of another network; give all processes the same program");
  std::vector<double> numbers(count);
  std::memcpy(numbers.data(), bytes.data(), bytes.size());
  return numbers;
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

double gradient_norm(const NamedParameters& parameters, PipelineLinks& links, int all_threads) {
  const auto own = norms_by_parameter(parameters, std::clamp(all_threads, 1, kMostThreadsOfNorm));
  std::vector<double> all(parameters.size(), kNoGradient);
  for (const std::string& of_row : links.gather(bytes_of(own))) {
    const std::vector<double> norms = numbers_of(of_row, parameters.size());
    for (std::size_t i = 0; i < all.size(); ++i)
      if (all[i] == kNoGradient) all[i] = norms[i];
  }
  std::erase(all, kNoGradient);
  return all.empty() ? 0 : torch::tensor(all, torch::kFloat64).norm().item<double>();
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

std::string first_non_finite_gradient(const NamedParameters& parameters, PipelineLinks& links) {
  std::string last;
  for (const std::string& name : links.gather(first_non_finite_gradient(parameters))) {
    if (name.empty()) continue;
    const auto place = [&](const std::string& of) {
      return std::find_if(parameters.begin(), parameters.end(),
                          [&](const auto& item) { return item.first == of; });
    };
    if (last.empty() || place(name) > place(last)) last = name;
  }
  return last;
}

}  // namespace lamp
