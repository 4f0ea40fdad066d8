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

#include "lamp/training/train_config.h"

namespace lamp {

using NamedParameters = std::vector<std::pair<std::string, torch::Tensor>>;

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
// The inverse, on the parameters' devices. Throws Error if the state is another optimizer's.
void restore_optimizer(torch::optim::Optimizer& optimizer, const NamedParameters& parameters,
                       const std::map<std::string, torch::Tensor>& state);

}  // namespace lamp
