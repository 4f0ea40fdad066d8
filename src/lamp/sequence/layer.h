// One link of a network written as a chain: a module that maps one tensor to one tensor and may,
// besides, stash a named tensor for a later link or pop one that an earlier link stashed (the
// paper's section 2.2). The chain may be cut between any two links, so a link never knows on which
// device its neighbours live.
#pragma once

#include <torch/nn/module.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "lamp/sequence/plane_range.h"

namespace lamp {

// Where a running layer leaves and fetches its named tensors. The plain run keeps them in a map;
// the pipeline sends them straight from the stage that stashes to the stage that pops.
class SkipPort {
 public:
  virtual ~SkipPort() = default;
  virtual void stash(const std::string& name, torch::Tensor tensor) = 0;
  // Each stashed tensor is popped exactly once.
  virtual torch::Tensor pop(const std::string& name) = 0;
};

class Layer : public torch::nn::Module {
 public:
  using torch::nn::Module::Module;
  // Must not write into `input` or into a popped tensor: another link may hold the same memory.
  // Writing in place into what the layer itself has computed is fine where autograd allows it.
  virtual torch::Tensor forward(torch::Tensor input, SkipPort& skips) = 0;
  // The names this layer stashes and pops in every forward call; a chain is checked against them
  // when it is built.
  virtual std::vector<std::string> stashes() const { return {}; }
  virtual std::vector<std::string> pops() const { return {}; }
  // The module that stands for this layer in the chain's module tree, and so names its parameters.
  // A layer that only wraps a module returns that one, which keeps a level out of the names.
  virtual std::shared_ptr<torch::nn::Module> named_module() { return shared_from_this(); }
  // How planes of the volume move through the layer along an axis of [N, C, D, H, W], if it can run
  // on slabs of one (slab_group.h); nothing if it cannot, or does not say.
  virtual std::optional<PlaneRule> plane_rule(std::int64_t /*axis*/) const { return std::nullopt; }
  // A layer with the same outputs in evaluation mode that is cheaper to run and cannot be trained;
  // null if there is none. Weights that stay as they are may be
  // shared.
  virtual std::shared_ptr<Layer> inference_form() { return nullptr; }
};

}  // namespace lamp
