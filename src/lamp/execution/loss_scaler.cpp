// Powers of two only, so that scaling itself never rounds.
#include "lamp/execution/loss_scaler.h"

#include <torch/types.h>

#include <cmath>

namespace lamp {

bool LossScaler::unscale(const NamedParameters& parameters, double gradient_norm) {
  if (!active_) return std::isfinite(gradient_norm);
  if (!std::isfinite(gradient_norm)) {
    scale_ /= 2;
    good_steps_ = 0;
    return false;
  }
  for (const auto& [name, parameter] : parameters)
    if (parameter.grad().defined()) parameter.mutable_grad().mul_(1 / scale_);
  if (++good_steps_ == kGrowthInterval) {
    scale_ *= 2;
    good_steps_ = 0;
  }
  return true;
}

}  // namespace lamp
