// The two layers that every U-shaped chain needs: one that stashes what passes, one that takes it
// back.
#pragma once

#include <torch/types.h>

#include <string>
#include <vector>

#include "lamp/sequence/layer.h"

namespace lamp {

// Passes its input on unchanged and stashes it: e_i becomes e_i0 and e_i1 (the paper's
// section 2.2).
class StashSkip : public Layer {
 public:
  explicit StashSkip(std::string name);
  torch::Tensor forward(torch::Tensor input, SkipPort& skips) override;
  std::vector<std::string> stashes() const override { return {name_}; }
  std::optional<PlaneRule> plane_rule(std::int64_t) const override { return PlaneRule{}; }

 private:
  std::string name_;
};

// Pops the skip and concatenates [input, skip] along the channels: [N, C, D, H, W] with equal N, D,
// H, W.
class ConcatSkip : public Layer {
 public:
  explicit ConcatSkip(std::string name);
  torch::Tensor forward(torch::Tensor input, SkipPort& skips) override;
  std::vector<std::string> pops() const override { return {name_}; }
  std::optional<PlaneRule> plane_rule(std::int64_t) const override { return PlaneRule{}; }

 private:
  std::string name_;
};

}  // namespace lamp
