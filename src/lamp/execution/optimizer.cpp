// One list of slots for each optimizer serves both saving and restoring.
#include "lamp/execution/optimizer.h"

#include <torch/optim.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <numbers>

#include "lamp/base/errors.h"
#include "lamp/base/text.h"

namespace lamp {
namespace {

using torch::optim::OptimizerParamState;
// Called for each slot: its name and how to get and set it as a tensor.
using SlotVisitor = std::function<void(const std::string&, const torch::Tensor&,
                                       const std::function<void(torch::Tensor)>&)>;

template <typename State>
void visit_step(State& state, const SlotVisitor& visit) {
  visit("step", torch::tensor(state.step(), torch::kInt64),
        [&state](const torch::Tensor& value) { state.step(value.item<std::int64_t>()); });
}

void visit_slots(OptimizerParamState& any, const std::string& kind, const SlotVisitor& visit) {
  if (kind == "rmsprop") {
    auto& state = static_cast<torch::optim::RMSpropParamState&>(any);
    visit_step(state, visit);
    visit("square_avg", state.square_avg(),
          [&](torch::Tensor value) { state.square_avg(std::move(value)); });
    visit("momentum_buffer", state.momentum_buffer(),
          [&](torch::Tensor value) { state.momentum_buffer(std::move(value)); });
  } else if (kind == "sgd") {
    auto& state = static_cast<torch::optim::SGDParamState&>(any);
    visit("momentum_buffer", state.momentum_buffer(),
          [&](torch::Tensor value) { state.momentum_buffer(std::move(value)); });
  } else {
    auto& state = static_cast<torch::optim::AdamWParamState&>(any);
    visit_step(state, visit);
    visit("exp_avg", state.exp_avg(),
          [&](torch::Tensor value) { state.exp_avg(std::move(value)); });
    visit("exp_avg_sq", state.exp_avg_sq(),
          [&](torch::Tensor value) { state.exp_avg_sq(std::move(value)); });
  }
}

std::string optimizer_kind(const torch::optim::Optimizer& optimizer) {
  if (dynamic_cast<const torch::optim::RMSprop*>(&optimizer)) return "rmsprop";
  if (dynamic_cast<const torch::optim::SGD*>(&optimizer)) return "sgd";
  return "adamw";
}

std::unique_ptr<OptimizerParamState> fresh_state(const std::string& kind) {
  if (kind == "rmsprop") return std::make_unique<torch::optim::RMSpropParamState>();
  if (kind == "sgd") return std::make_unique<torch::optim::SGDParamState>();
  return std::make_unique<torch::optim::AdamWParamState>();
}

// The slots of visit_slots, by name.
std::vector<const char*> slots_of(const std::string& kind) {
  if (kind == "rmsprop") return {"step", "square_avg", "momentum_buffer"};
  if (kind == "sgd") return {"momentum_buffer"};
  return {"step", "exp_avg", "exp_avg_sq"};
}

bool is_mean_of_squares(const std::string& slot) {
  return slot == "square_avg" || slot == "exp_avg_sq";
}

// torch makes RMSProp's buffer only with the rest of its state.
void start_momentum(torch::optim::Optimizer& optimizer, const torch::Tensor& parameter,
                    OptimizerParamState& any) {
  auto& state = static_cast<torch::optim::RMSpropParamState&>(any);
  const auto& options =
      static_cast<torch::optim::RMSpropOptions&>(optimizer.param_groups()[0].options());
  if (options.momentum() > 0 && !state.momentum_buffer().defined())
    state.momentum_buffer(torch::zeros_like(parameter));
}

}  // namespace

OptimizerConfig parse_optimizer_config(const Json& json, const std::string& where) {
  ObjectReader reader(json, where);
  OptimizerConfig config;
  config.name = reader.choice("name", config.name, {"rmsprop", "sgd", "adamw"});
  config.lr = positive(reader, "lr", config.lr);
  config.momentum = positive(reader, "momentum", config.name == "sgd" ? 0.9 : 0.0, true);
  config.weight_decay = positive(reader, "weight_decay", config.name == "adamw" ? 0.01 : 0.0, true);
  config.schedule = reader.choice("schedule", config.schedule, {"constant", "cosine"});
  config.clip_norm = positive(reader, "clip_norm", config.clip_norm, true);
  reader.finish();
  return config;
}

Json to_json(const OptimizerConfig& config) {
  return {{"name", config.name},         {"lr", config.lr},
          {"momentum", config.momentum}, {"weight_decay", config.weight_decay},
          {"schedule", config.schedule}, {"clip_norm", config.clip_norm}};
}

NamedParameters named_parameters(const Network& network) {
  NamedParameters parameters;
  for (const auto& item : network.chain->named_parameters())
    parameters.emplace_back(item.key(), item.value());
  return parameters;
}

std::unique_ptr<torch::optim::Optimizer> make_optimizer(const OptimizerConfig& config,
                                                        const NamedParameters& parameters) {
  std::vector<torch::Tensor> tensors;
  for (const auto& [name, parameter] : parameters) tensors.push_back(parameter);
  if (config.name == "rmsprop") {
    auto options = torch::optim::RMSpropOptions(config.lr)
                       .momentum(config.momentum)
                       .weight_decay(config.weight_decay);
    return std::make_unique<torch::optim::RMSprop>(tensors, options);
  }
  if (config.name == "sgd") {
    auto options = torch::optim::SGDOptions(config.lr)
                       .momentum(config.momentum)
                       .weight_decay(config.weight_decay);
    return std::make_unique<torch::optim::SGD>(tensors, options);
  }
  TORCH_CHECK(config.name == "adamw", "unknown optimizer ", config.name);
  return std::make_unique<torch::optim::AdamW>(
      tensors, torch::optim::AdamWOptions(config.lr).weight_decay(config.weight_decay));
}

double optimizer_state_factor(const OptimizerConfig& config) {
  const double momentum = config.momentum > 0 ? 1 : 0;
  if (config.name == "sgd") return momentum;
  return config.name == "rmsprop" ? 1 + momentum : 2;
}

double learning_rate(const OptimizerConfig& config, std::int64_t step, std::int64_t steps) {
  if (config.schedule == "constant") return config.lr;
  const double progress = static_cast<double>(step) / static_cast<double>(steps);
  return config.lr * 0.5 * (1 + std::cos(std::numbers::pi * progress));
}

void set_learning_rate(torch::optim::Optimizer& optimizer, double lr) {
  for (auto& group : optimizer.param_groups()) group.options().set_lr(lr);
}

std::map<std::string, torch::Tensor> optimizer_state(torch::optim::Optimizer& optimizer,
                                                     const NamedParameters& parameters) {
  std::map<std::string, torch::Tensor> tensors;
  const std::string kind = optimizer_kind(optimizer);
  for (const auto& item : parameters) {  // no structured binding: the lambda below captures it
    const std::string& name = item.first;
    const torch::Tensor& parameter = item.second;
    const auto found = optimizer.state().find(parameter.unsafeGetTensorImpl());
    if (found == optimizer.state().end()) continue;
    visit_slots(*found->second, kind,
                [&](const std::string& slot, const torch::Tensor& value, const auto&) {
                  if (value.defined()) tensors[name + ":" + slot] = value;
                });
  }
  return tensors;
}

void check_optimizer_state(const OptimizerConfig& config, const NamedParameters& parameters,
                           const std::map<std::string, torch::Tensor>& state,
                           const OptimizerPlace& place) {
  if (state.empty() && place.least_steps == 0) return;
  const bool has_momentum =
      place.has_momentum || std::any_of(state.begin(), state.end(), [](const auto& item) {
        return item.first.ends_with(":momentum_buffer");
      });
  std::size_t used = 0;
  for (const auto& [name, parameter] : parameters) {
    for (const char* slot : slots_of(config.name)) {
      const auto found = state.find(name + ":" + slot);
      const std::string what = "what the optimizer remembers of " + name + " (" + slot + ")";
      if (found == state.end()) {
        if (std::string(slot) == "momentum_buffer" && !has_momentum) continue;
        throw Error(what + " is missing; is it the state of another optimizer than \"" +
                    config.name + "\"?");
      }
      ++used;
      const torch::Tensor& value = found->second;
      if (std::string(slot) == "step") {
        if (value.dtype() != torch::kInt64 || value.numel() != 1)
          throw Error(what + " is no number of steps");
        const auto steps = value.item<std::int64_t>();
        if (steps < 1 || steps > place.most_steps)
          throw Error(what + " is " + std::to_string(steps) + ", expected 1 to " +
                      std::to_string(place.most_steps));
      } else if (value.sizes() != parameter.sizes() || value.dtype() != parameter.dtype()) {
        throw Error(what + " is " + c10::str(value.dtype(), " ", value.sizes()) + ", expected " +
                    c10::str(parameter.dtype(), " ", parameter.sizes()));
      } else if (!value.isfinite().all().item<bool>()) {
        throw Error(what + " holds numbers that are not finite");
      } else if (is_mean_of_squares(slot) && value.lt(0).any().item<bool>()) {
        throw Error(what + " holds numbers below zero, and is a mean of squares");
      }
    }
  }
  if (used != state.size())
    throw Error("it remembers " + counted(state.size() - used, "tensor") + " that \"" +
                config.name + "\" and this network do not know");
}

void restore_optimizer(torch::optim::Optimizer& optimizer, const NamedParameters& parameters,
                       const std::map<std::string, torch::Tensor>& state) {
  const std::string kind = optimizer_kind(optimizer);
  std::size_t used = 0;
  for (const auto& item : parameters) {
    const std::string& name = item.first;
    const torch::Tensor& parameter = item.second;
    auto fresh = fresh_state(kind);
    bool any = false;
    visit_slots(*fresh, kind, [&](const std::string& slot, const torch::Tensor&, const auto& set) {
      const auto found = state.find(name + ":" + slot);
      if (found == state.end()) return;
      set(slot == "step" ? found->second : found->second.to(parameter.device()).clone());
      any = true;
      ++used;
    });
    if (!any) continue;
    if (kind == "rmsprop") start_momentum(optimizer, parameter, *fresh);
    optimizer.state()[parameter.unsafeGetTensorImpl()] = std::move(fresh);
  }
  if (used != state.size())
    throw Error("cannot resume: the saved optimizer state does not belong to \"" + kind +
                "\" and this network");
}

}  // namespace lamp
