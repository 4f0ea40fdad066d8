// torch's optimizers under the names of the configuration, and their state as named tensors,
// because torch's own way to save it is a pickle.
#pragma once

#include <torch/optim/optimizer.h>

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "lamp/base/json.h"
#include "lamp/nets/network.h"

namespace lamp {

struct OptimizerConfig {
  std::string name = "rmsprop";  // rmsprop | sgd | adamw
  double lr = 1e-3;
  double momentum = 0;  // sgd's default is 0.9, the paper's fine-tuning setting
  double weight_decay = 0;
  std::string schedule = "constant";  // constant | cosine: to zero over each stage
  double clip_norm = 0;               // gradients are scaled down to this L2 norm; 0 = never
};

// The "optimizer" object, with its name's defaults. Throws UsageError.
OptimizerConfig parse_optimizer_config(const Json& json, const std::string& where = "optimizer");
Json to_json(const OptimizerConfig& config);

using NamedParameters = std::vector<std::pair<std::string, torch::Tensor>>;

// In the chain's order, by their PyTorch names.
NamedParameters named_parameters(const Network& network);

std::unique_ptr<torch::optim::Optimizer> make_optimizer(const OptimizerConfig& config,
                                                        const NamedParameters& parameters);

// Bytes of what the optimizer remembers, in units of the parameters' bytes: 0, 1 or 2.
double optimizer_state_factor(const OptimizerConfig& config);

// The learning rate of step `step` of `steps` in a stage.
double learning_rate(const OptimizerConfig& config, std::int64_t step, std::int64_t steps);
void set_learning_rate(torch::optim::Optimizer& optimizer, double lr);

// Tensors "<parameter>:<slot>" of everything the optimizer remembers; empty before its first step.
std::map<std::string, torch::Tensor> optimizer_state(torch::optim::Optimizer& optimizer,
                                                     const NamedParameters& parameters);

// What must be true of a saved optimizer at its place in the run.
struct OptimizerPlace {
  std::int64_t least_steps = 0;  // 0: it may have taken none, and then remembers nothing
  std::int64_t most_steps = 0;
  bool has_momentum = false;  // it must remember momentum, too
};
// Throws Error if `state` is not what such an optimizer remembers of these parameters at this
// place: another optimizer's, a tensor missing, of another shape or type, not finite, or of values
// that no steps lead to.
void check_optimizer_state(const OptimizerConfig& config, const NamedParameters& parameters,
                           const std::map<std::string, torch::Tensor>& state,
                           const OptimizerPlace& place);
// The inverse of optimizer_state, on the parameters' devices. Momentum that the optimizer wants and
// the state has none of starts at zero. Throws Error if the state is another optimizer's.
void restore_optimizer(torch::optim::Optimizer& optimizer, const NamedParameters& parameters,
                       const std::map<std::string, torch::Tensor>& state);

}  // namespace lamp
