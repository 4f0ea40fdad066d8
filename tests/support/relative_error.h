// How far a tensor is from the one it should equal, as one number.
#pragma once

#include <torch/types.h>

#include <cstdio>
#include <limits>
#include <string>

namespace lamp::testing {

// Largest difference over the largest magnitude of `expected`; infinite for other shapes, NaN where
// either holds NaN.
inline double relative_error(const torch::Tensor& actual, const torch::Tensor& expected) {
  if (actual.sizes() != expected.sizes()) return std::numeric_limits<double>::infinity();
  const torch::Tensor wanted = expected.detach().to(torch::kFloat64);
  const torch::Tensor difference = actual.detach().to(torch::kFloat64) - wanted;
  const double scale = wanted.abs().max().item<double>();
  return difference.abs().max().item<double>() / (scale > 0 ? scale : 1);
}

// For RecordProperty: std::to_string would round 3e-7 to nothing.
inline std::string scientific(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.1e", value);
  return text;
}

}  // namespace lamp::testing
