// Loss scaling for fp16, whose gradients would otherwise vanish below 6e-8: the loss is multiplied
// by a power of two, the gradients divided by it, and steps whose gradients overflow are left out
// (Micikevicius et al. 2018).
#pragma once

#include "lamp/execution/optimizer.h"

namespace lamp {

class LossScaler {
 public:
  // Without `active` the scale is 1 and every step with finite gradients is taken.
  explicit LossScaler(bool active) : scale_(active ? kFirstScale : 1), active_(active) {}

  double scale() const { return scale_; }
  // After backward: divides the gradients by the scale. False if they overflowed and the step must
  // be left out; the scale is then halved. After kGrowthInterval good steps in a row it doubles.
  bool unscale(const NamedParameters& parameters, double gradient_norm);
  // The scale has fallen so far that the overflow is no matter of scaling.
  bool exhausted() const { return active_ && scale_ < 1; }

  static constexpr double kFirstScale = 65536;
  // So many steps at the most are left out before the first one is taken, or training ends.
  static constexpr int kMostLeftOut = 17;
  static constexpr int kGrowthInterval = 2000;

 private:
  double scale_;
  bool active_;
  int good_steps_ = 0;
};

}  // namespace lamp
