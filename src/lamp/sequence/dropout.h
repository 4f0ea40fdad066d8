// Dropout whose masks can be drawn again. torch's own draws from one generator for the whole
// process, which workers race for, so that recomputation meets another mask.
#pragma once

#include <torch/types.h>

#include "lamp/sequence/layer.h"

namespace lamp {

// In training zeroes each value (or, with `channels`, each channel of [N, C, ...]) with probability
// p and scales the rest by 1 / (1 - p); in evaluation passes its input on. p in [0, 1). Inside a
// RunScope the mask depends only on (seed, step, micro-batch, link).
class Dropout : public Layer {
 public:
  explicit Dropout(double probability, bool channels = false);
  torch::Tensor forward(torch::Tensor input, SkipPort& skips) override;
  std::optional<PlaneRule> plane_rule(std::int64_t) const override { return PlaneRule{}; }

 private:
  double probability_;
  bool channels_;
};

}  // namespace lamp
