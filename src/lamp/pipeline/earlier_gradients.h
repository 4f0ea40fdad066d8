// The gradients that parameters had before a step: put aside so that a failed step leaves no trace.
#pragma once

#include <torch/types.h>

#include <utility>
#include <vector>

#include "lamp/sequence/sequence.h"

namespace lamp {

class EarlierGradients {
 public:
  // The chain's parameters have none from now on.
  explicit EarlierGradients(const Sequence& chain);
  // To those of the step.
  void add();
  // In place of those of the step.
  void restore();

 private:
  std::vector<std::pair<torch::Tensor, torch::Tensor>> gradients_;
};

}  // namespace lamp
