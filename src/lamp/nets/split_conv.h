// A convolution whose backward returns the input's gradient at once and leaves the weight's as a
// task, for schedules that fill waiting time with weight gradients (Qi et al. 2023, zero bubble).
#pragma once

#include <torch/types.h>

#include <memory>

#include "lamp/nets/conv_kernel.h"
#include "lamp/sequence/run_context.h"

namespace lamp {

// convolution() (conv_kernel.h) in the input's dtype, outside of autocast. weight
// and bias (may be undefined) are leaves of any floating dtype: their gradients are added to
// .grad() when the task that backward appends to `tasks` is run.
torch::Tensor split_convolution(const torch::Tensor& input, const torch::Tensor& weight,
                                const torch::Tensor& bias, const ConvGeometry& geometry,
                                const std::shared_ptr<WeightTasks>& tasks);

// Adds to the parameter's gradient, in the parameter's dtype.
void add_gradient(const torch::Tensor& parameter, const torch::Tensor& gradient);

}  // namespace lamp
