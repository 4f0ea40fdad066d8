// A network as a checked chain of layers. The chain owns the rules of stash and pop, so that
// whoever runs it, in one go or cut into pipeline stages, can rely on every skip being stashed once
// and popped once, later.
#pragma once

#include <torch/nn/module.h>
#include <torch/types.h>

#include <cstddef>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "lamp/sequence/layer.h"
#include "lamp/sequence/module_layer.h"  // as_layer, which nearly every chain is built with

namespace lamp {

struct Link {
  std::string name;  // unique; dots nest: "a.b" becomes child b of child a in torch's module tree
  std::shared_ptr<Layer> layer;
};

// A named tensor's way through the chain: from the link that stashes it to the link that pops it.
struct Skip {
  std::string name;
  std::size_t from;
  std::size_t to;
};

// Keeps stashed tensors in a map and lets go of each when it is popped. Not thread-safe.
class LocalSkips : public SkipPort {
 public:
  void stash(const std::string& name, torch::Tensor tensor) override;
  torch::Tensor pop(const std::string& name) override;
  bool empty() const { return tensors_.empty(); }

 private:
  std::map<std::string, torch::Tensor> tensors_;
};

// State names are "<link>.<parameter>" without a prefix, so they can equal those of a published
// network; train(), to(), parameters() and zero_grad() work as on any torch module. Slices with no
// link in common may run on different threads at the same time; otherwise not thread-safe.
class Sequence : public torch::nn::Module {
 public:
  // Throws c10::Error that names the layer if the chain is empty, a name or a module occurs twice,
  // or a skip is popped but never stashed, stashed but never popped, stashed twice, popped twice or
  // popped before it is stashed.
  explicit Sequence(std::vector<Link> links);

  // The whole chain on one device.
  torch::Tensor forward(torch::Tensor input);
  // Links first ... last - 1. Checks that each layer stashes and pops exactly what it declares; an
  // error of torch's gets the layer's name as context.
  torch::Tensor run(torch::Tensor input, std::size_t first, std::size_t last, SkipPort& skips);

  std::size_t size() const { return layers_.size(); }
  const std::vector<std::shared_ptr<Layer>>& layers() const { return layers_; }
  const std::vector<std::string>& names() const { return names_; }
  // In the order of their stashing.
  const std::vector<Skip>& skips() const { return skips_; }

 private:
  void check_modules() const;
  void find_skips();
  void register_links();

  std::vector<std::shared_ptr<Layer>> layers_;
  std::vector<std::string> names_;
  std::vector<Skip> skips_;
};

}  // namespace lamp
