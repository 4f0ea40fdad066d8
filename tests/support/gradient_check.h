// Autograd against central differences, in double.
#pragma once

#include <ATen/Parallel.h>
#include <torch/autograd.h>
#include <torch/types.h>
#include <torch/utils.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <vector>

namespace lamp::testing {

// Largest difference between the gradient that autograd gives for the scalar `function` and central
// differences, over every `stride`-th element of each of `leaves` (double, requiring gradients),
// relative to the largest gradient.
inline double gradient_error(const std::function<torch::Tensor()>& function,
                             const std::vector<torch::Tensor>& leaves, std::int64_t stride = 1) {
  constexpr double kStep = 1e-5;
  // Thousands of tiny passes: with more threads they would wait for each other on a busy machine.
  at::set_num_threads(1);
  const auto gradients = torch::autograd::grad({function()}, leaves);
  const torch::NoGradGuard no_grad;
  double worst = 0;
  double largest = 0;
  for (std::size_t i = 0; i < leaves.size(); ++i) {
    double* value = leaves[i].data_ptr<double>();
    const torch::Tensor gradient = gradients[i].contiguous();
    for (std::int64_t k = 0; k < leaves[i].numel(); k += stride) {
      const double before = value[k];
      value[k] = before + kStep;
      const double above = function().item<double>();
      value[k] = before - kStep;
      const double below = function().item<double>();
      value[k] = before;
      const double expected = (above - below) / (2 * kStep);
      worst = std::max(worst, std::abs(gradient.data_ptr<double>()[k] - expected));
      largest = std::max(largest, std::abs(expected));
    }
  }
  return worst / largest;
}

}  // namespace lamp::testing
