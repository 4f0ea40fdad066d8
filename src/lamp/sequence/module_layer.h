// Makes a layer of anything that maps one tensor to one tensor, so that a chain can be built from
// torch's own modules.
#pragma once

#include <torch/nn/pimpl.h>
#include <torch/types.h>

#include <functional>
#include <memory>
#include <utility>

#include "lamp/sequence/layer.h"

namespace lamp {

using TensorFunction = std::function<torch::Tensor(torch::Tensor)>;

// The module, then (optionally) `then` on its output, voxel by voxel (channels may meet). In a
// chain the module's parameters stand directly under the layer's name: layer "conv" of a Conv3d has
// the parameter "conv.weight".
template <typename Wrapped>
class ModuleLayer : public Layer {
 public:
  explicit ModuleLayer(std::shared_ptr<Wrapped> module, TensorFunction then = nullptr)
      : module_(register_module("module", std::move(module))), then_(std::move(then)) {}

  torch::Tensor forward(torch::Tensor input, SkipPort&) override {
    torch::Tensor output = module_->forward(input);
    return then_ ? then_(std::move(output)) : output;
  }
  std::shared_ptr<torch::nn::Module> named_module() override { return module_; }
  // The module's rule; what follows it works voxel by voxel.
  std::optional<PlaneRule> plane_rule(std::int64_t axis) const override {
    if constexpr (requires { module_->plane_rule(axis); })
      return module_->plane_rule(axis);
    else
      return std::nullopt;
  }
  // What follows the module; may be empty.
  const TensorFunction& then() const { return then_; }

 private:
  std::shared_ptr<Wrapped> module_;
  TensorFunction then_;
};

// A function without parameters as a layer.
class FunctionLayer : public Layer {
 public:
  explicit FunctionLayer(TensorFunction function) : function_(std::move(function)) {}
  torch::Tensor forward(torch::Tensor input, SkipPort&) override {
    return function_(std::move(input));
  }

 private:
  TensorFunction function_;
};

template <typename Wrapped>
std::shared_ptr<Layer> as_layer(std::shared_ptr<Wrapped> module, TensorFunction then = nullptr) {
  return std::make_shared<ModuleLayer<Wrapped>>(std::move(module), std::move(then));
}

// For torch's module holders, such as as_layer(torch::nn::Conv3d(options)).
template <typename Wrapped>
std::shared_ptr<Layer> as_layer(const torch::nn::ModuleHolder<Wrapped>& module,
                                TensorFunction then = nullptr) {
  return as_layer(module.ptr(), std::move(then));
}

inline std::shared_ptr<Layer> as_layer(TensorFunction function) {
  return std::make_shared<FunctionLayer>(std::move(function));
}

}  // namespace lamp
