// One link at a time, with inputs that are no leaves: a leaf would be kept by its own graph node,
// and what a link keeps of its input is one of the things to find out.
#include "lamp/profile/measured_costs.h"

#include <ATen/autocast_mode.h>
#include <torch/autograd.h>
#include <torch/csrc/autograd/engine.h>
#include <torch/utils.h>

#include <algorithm>
#include <chrono>
#include <functional>
#include <map>
#include <set>
#include <utility>

#include "lamp/base/device.h"
#include "lamp/base/memory_counter.h"
#include "lamp/profile/tensor_bytes.h"
#include "lamp/sequence/run_context.h"

namespace lamp {
namespace {

using Clock = std::chrono::steady_clock;
using torch::autograd::Edge;

// Skips without history between the links; the one at work pops them as it would its input.
class CutSkips : public SkipPort {
 public:
  void stash(const std::string& name, torch::Tensor tensor) override {
    stashed.emplace_back(name, std::move(tensor));
  }
  torch::Tensor pop(const std::string& name) override {
    return std::exchange(popped.at(name), torch::Tensor());
  }
  std::vector<std::pair<std::string, torch::Tensor>> stashed;  // by the link at work
  std::map<std::string, torch::Tensor> popped;                 // for it
};

// What one link keeps of its input and output apart from what it keeps of its own.
struct Kept {
  std::int64_t own = 0;  // also behind a stash, such as the input of a shortcut's norm
  bool input = false;
  bool output = false;
  bool hands_on = false;  // its output is its input
};

// A tensor that wants a gradient and is nobody's leaf.
torch::Tensor wanting(const torch::Tensor& values) {
  if (!values.is_floating_point()) return values.clone();
  return values + torch::zeros({}, values.options().requires_grad(true));
}

// Whose gradients a link's backward computes.
struct Wanted {
  void add(const torch::Tensor& of) {
    if (of.requires_grad()) edges.push_back(torch::autograd::impl::gradient_edge(of));
  }
  torch::autograd::edge_list edges;
  bool input = false;                        // the first edge is the input's
  std::map<std::string, std::size_t> skips;  // popped ones by their edges
};

class Measurement {
 public:
  Measurement(Sequence& chain, const torch::Tensor& input, const MeasureOptions& options)
      : chain_(chain), device_(input.device()), input_(input.detach()), options_(options) {
    costs_.layers.resize(chain.size());
    costs_.samples = input.size(0);
    costs_.input_bytes = bytes_of(input);
    kept_.resize(chain.size());
    for (const Skip& skip : chain.skips())
      costs_.skips.push_back({skip.name, skip.from, skip.to, 0});
    for (std::size_t link = 0; link < chain.size(); ++link) describe(link);
  }

  void round(const OutputLoss& loss, bool is_counted) {
    counted_ = is_counted;
    torch::Tensor tensor = input_;
    for (std::size_t link = 0; link < chain_.size(); ++link) {
      if (options_.on_link) options_.on_link();
      tensor = run(link, std::move(tensor));
    }
    if (loss) measure_loss(loss, std::move(tensor));
  }
  // Links whose weight gradients can be put off, and how long those take.
  void weight_round() {
    torch::Tensor tensor = input_;
    for (std::size_t link = 0; link < chain_.size(); ++link) {
      if (options_.on_link) options_.on_link();
      tensor = run_split(link, std::move(tensor));
    }
  }
  NetworkCosts result();

 private:
  void describe(std::size_t link);
  torch::Tensor run(std::size_t link, torch::Tensor input);
  torch::Tensor run_split(std::size_t link, torch::Tensor input);
  void backward(std::size_t link, torch::autograd::edge_list roots,
                std::vector<torch::Tensor> gradients, const Wanted& wanted);
  void describe_gradients(const Wanted& wanted, const std::vector<torch::Tensor>& results);
  std::int64_t workspace_of(const std::vector<torch::Tensor>& parameters,
                            const std::function<void()>& work) const;
  void measure_loss(const OutputLoss& loss, torch::Tensor output);
  torch::Tensor prepare(std::size_t link, const torch::Tensor& input, CutSkips& skips);
  // Returns the bytes that only the stash's handle kept: they go with the pop.
  std::int64_t keep_skips(CutSkips& skips, const torch::Tensor& output);
  double since(Clock::time_point start) const {
    wait_for(device_);
    return std::chrono::duration<double>(Clock::now() - start).count();
  }
  Clock::time_point start() const {
    wait_for(device_);
    return Clock::now();
  }
  static void take_least(double& seconds, double took) {
    seconds = seconds == 0 ? took : std::min(seconds, took);
  }

  Sequence& chain_;
  c10::Device device_;
  torch::Tensor input_;
  const MeasureOptions& options_;
  NetworkCosts costs_;
  std::vector<Kept> kept_;
  std::map<std::string, torch::Tensor> skips_;  // on their way
  std::set<std::string> unwanted_;              // skips that want no gradient
  bool counted_ = false;
};

void Measurement::describe(std::size_t link) {
  LayerCosts& layer = costs_.layers[link];
  layer.name = chain_.names()[link];
  for (const auto& parameter : chain_.layers()[link]->parameters())
    layer.parameter_bytes += bytes_of(parameter);
  for (const auto& buffer : chain_.layers()[link]->buffers())
    layer.buffer_bytes += bytes_of(buffer);
}

torch::Tensor Measurement::prepare(std::size_t link, const torch::Tensor& input, CutSkips& skips) {
  for (const std::string& name : chain_.layers()[link]->pops()) {
    const torch::Tensor& tensor = skips_.at(name);
    skips.popped[name] = unwanted_.contains(name) ? tensor.clone() : wanting(tensor);
    skips_.erase(name);
  }
  return link == 0 ? input : wanting(input);
}

std::int64_t Measurement::keep_skips(CutSkips& skips, const torch::Tensor& output) {
  for (auto& [name, tensor] : skips.stashed) {
    skips_[name] = tensor.detach().clone();
    for (SkipBytes& skip : costs_.skips)
      if (skip.name == name) {
        skip.bytes = bytes_of(tensor);
        skip.is_handed_on = tensor.storage().is_alias_of(output.storage());
        if (tensor.requires_grad()) continue;
        skip.gradient_bytes = 0;
        unwanted_.insert(name);
      }
  }
  const std::int64_t before = allocated_bytes(device_);
  skips.stashed.clear();
  return before - allocated_bytes(device_);
}

void Measurement::backward(std::size_t link, torch::autograd::edge_list roots,
                           std::vector<torch::Tensor> gradients, const Wanted& wanted) {
  LayerCosts& layer = costs_.layers[link];
  const c10::impl::ExcludeDispatchKeyGuard no_autocast(c10::autocast_dispatch_keyset);
  const std::int64_t before = allocated_bytes(device_);
  reset_peak_bytes(device_);
  const auto begin = start();
  const auto results = torch::autograd::Engine::get_default_engine().execute(
      roots, gradients, /*keep_graph=*/false, /*create_graph=*/false, /*accumulate_grad=*/false,
      wanted.edges);
  const double took = since(begin);
  if (!counted_) return;
  take_least(layer.backward_s, took);
  std::int64_t made = 0;
  for (const torch::Tensor& gradient : results)
    if (gradient.defined()) made += bytes_of(gradient);
  layer.backward_workspace_bytes = peak_bytes(device_) - before - made;
  describe_gradients(wanted, results);
}

void Measurement::describe_gradients(const Wanted& wanted,
                                     const std::vector<torch::Tensor>& results) {
  for (SkipBytes& skip : costs_.skips) {
    const auto found = wanted.skips.find(skip.name);
    if (found == wanted.skips.end() || !results[found->second].defined()) continue;
    const c10::Storage& storage = results[found->second].storage();
    skip.gradient_bytes = static_cast<std::int64_t>(storage.nbytes());
    skip.shares_gradient =
        wanted.input && results[0].defined() && storage.is_alias_of(results[0].storage());
  }
}

torch::Tensor Measurement::run(std::size_t link, torch::Tensor input) {
  LayerCosts& layer = costs_.layers[link];
  CutSkips skips;
  torch::Tensor tensor = prepare(link, input, skips);
  Wanted wanted{.input = tensor.requires_grad()};
  wanted.add(tensor);
  for (const auto& [name, skip] : skips.popped) {
    if (skip.requires_grad()) wanted.skips[name] = wanted.edges.size();
    wanted.add(skip);
  }
  for (const auto& parameter : chain_.layers()[link]->parameters()) wanted.add(parameter);
  input.reset();
  const auto popped = skips.popped;  // stashed by a link that keeps them, so they stay
  const std::int64_t before = allocated_bytes(device_);
  reset_peak_bytes(device_);
  const auto begin = start();
  torch::Tensor output = chain_.run(tensor, link, link + 1, skips);
  const double took = since(begin);
  const std::int64_t after = allocated_bytes(device_), peak = peak_bytes(device_);
  if (counted_) take_least(layer.forward_s, took);
  layer.output_bytes = bytes_of(output);
  layer.forward_workspace_bytes = peak - std::max(before + layer.output_bytes, after);
  Kept& kept = kept_[link];
  kept.hands_on = output.storage().is_alias_of(tensor.storage());
  kept.own = after - before - (kept.hands_on ? 0 : layer.output_bytes);
  torch::autograd::edge_list roots;
  std::vector<torch::Tensor> gradients;
  skips.stashed.emplace_back("", output);
  for (const auto& [name, root] : skips.stashed) {
    if (!root.requires_grad()) continue;
    roots.push_back(torch::autograd::impl::gradient_edge(root));
    gradients.push_back(torch::ones_like(root));
  }
  skips.stashed.pop_back();
  kept.own -= keep_skips(skips, output);
  torch::Tensor result = output.detach().clone();
  // Handles go one after the other: what stays is kept by the graph.
  const std::int64_t all = allocated_bytes(device_);
  tensor.reset();
  const std::int64_t without_input = allocated_bytes(device_);
  output.reset();
  kept.input = without_input == all;
  kept.output = allocated_bytes(device_) == without_input;
  if (!roots.empty() && !wanted.edges.empty())
    backward(link, std::move(roots), std::move(gradients), wanted);
  return result;
}

torch::Tensor Measurement::run_split(std::size_t link, torch::Tensor input) {
  CutSkips skips;
  torch::Tensor tensor = prepare(link, input, skips);
  const auto parameters = chain_.layers()[link]->parameters();
  for (const torch::Tensor& parameter : parameters) parameter.mutable_grad().reset();
  std::int64_t handed_back = tensor.requires_grad() ? bytes_of(tensor) : 0;
  for (const auto& [name, skip] : skips.popped)
    handed_back += skip.requires_grad() ? bytes_of(skip) : 0;
  RunContext context;
  context.weight_tasks = std::make_shared<WeightTasks>();
  torch::Tensor output;
  {
    const RunScope scope(context);
    output = chain_.run(tensor, link, link + 1, skips);
  }
  keep_skips(skips, output);
  LayerCosts& layer = costs_.layers[link];
  if (output.requires_grad()) {
    const c10::impl::ExcludeDispatchKeyGuard no_autocast(c10::autocast_dispatch_keyset);
    const torch::Tensor gradient = torch::ones_like(output);
    const std::int64_t of_input_half =
        workspace_of(parameters, [&] { torch::autograd::backward({output}, {gradient}); }) -
        handed_back;
    const torch::NoGradGuard no_gradients;
    const auto begin = start();
    layer.weight_half_workspace_bytes = workspace_of(parameters, [&] {
      for (auto& task : *context.weight_tasks) std::exchange(task, nullptr)();
    });
    if (context.weight_tasks->empty()) return output.detach();
    layer.input_half_workspace_bytes = of_input_half;
    take_least(layer.weight_s, since(begin));
  }
  return output.detach();
}

// What `work` holds at most beside the parameters' gradients that it makes.
std::int64_t Measurement::workspace_of(const std::vector<torch::Tensor>& parameters,
                                       const std::function<void()>& work) const {
  const auto gradient_bytes = [&] {
    std::int64_t bytes = 0;
    for (const torch::Tensor& parameter : parameters)
      if (parameter.grad().defined()) bytes += bytes_of(parameter.grad());
    return bytes;
  };
  const std::int64_t before = allocated_bytes(device_) - gradient_bytes();
  reset_peak_bytes(device_);
  work();
  return peak_bytes(device_) - before - gradient_bytes();
}

// As a stage does it: the loss's graph alone keeps the output, and lets it go.
void Measurement::measure_loss(const OutputLoss& loss, torch::Tensor output) {
  torch::Tensor logits = wanting(std::exchange(output, {}));
  const c10::impl::ExcludeDispatchKeyGuard no_autocast(c10::autocast_dispatch_keyset);
  const std::int64_t before = allocated_bytes(device_);
  reset_peak_bytes(device_);
  const auto begin = start();
  const torch::Tensor value = loss(logits);
  const auto edge = torch::autograd::impl::gradient_edge(logits);
  logits.reset();
  torch::autograd::Engine::get_default_engine().execute(
      {torch::autograd::impl::gradient_edge(value)}, {torch::ones_like(value)},
      /*keep_graph=*/false, /*create_graph=*/false, /*accumulate_grad=*/false, {edge});
  const double took = since(begin);
  if (counted_) take_least(costs_.loss_s, took);
  costs_.loss_workspace_bytes = peak_bytes(device_) - before;
}

NetworkCosts Measurement::result() {
  bool behind = true;  // whether the output is kept by what is behind: the loss, to begin with
  for (std::size_t link = chain_.size(); link-- > 0;) {
    LayerCosts& layer = costs_.layers[link];
    const Kept& kept = kept_[link];
    layer.saved_bytes = kept.own;
    if (!kept.hands_on) {
      layer.drops_output = !kept.output && !behind;
      if (!layer.drops_output) layer.saved_bytes += layer.output_bytes;
      if (!kept.output && behind) layer.handed_bytes = layer.output_bytes;
      behind = kept.input;
    }
    layer.weight_s = std::min(layer.weight_s, layer.backward_s);
  }
  for (std::size_t link = 1; link < chain_.size(); ++link)
    if (kept_[link].hands_on)
      costs_.layers[link].drops_output = costs_.layers[link - 1].drops_output;
  return std::move(costs_);
}

// All rounds; the chain is afterwards what it was.
NetworkCosts measure(Sequence& chain, const torch::Tensor& input, const OutputLoss& loss,
                     const MeasureOptions& options) {
  const torch::AutoGradMode with_gradients(true);
  std::vector<torch::Tensor> gradients, buffers;
  for (auto& parameter : chain.parameters())
    gradients.push_back(std::exchange(parameter.mutable_grad(), {}));
  for (const auto& buffer : chain.buffers()) buffers.push_back(buffer.clone());
  Measurement measurement(chain, input, options);
  bool slow = false;
  {
    RunContext context;  // so that dropout leaves torch's generator alone
    const RunScope scope(context);
    for (int round = 0; round <= options.rounds && !slow; ++round) {
      const auto begin = Clock::now();
      measurement.round(loss, round > 0);
      const std::chrono::duration<double> took = Clock::now() - begin;
      slow = round > 0 && took.count() > kSlowRound;
    }
  }
  measurement.weight_round();
  if (!slow) measurement.weight_round();
  const torch::NoGradGuard no_gradients;
  const auto parameters = chain.parameters();
  for (std::size_t i = 0; i < parameters.size(); ++i) parameters[i].mutable_grad() = gradients[i];
  const auto own = chain.buffers();
  for (std::size_t i = 0; i < own.size(); ++i) own[i].copy_(buffers[i]);
  return measurement.result();
}

}  // namespace

NetworkCosts measure_costs(Sequence& chain, const torch::Tensor& input, const OutputLoss& loss,
                           const MeasureOptions& options) {
  if (input.is_cpu()) count_cpu_memory();
  return measure(chain, input, loss, options);
}

}  // namespace lamp
