// Convolutions, norms and AnatomyNet's residual block as links of a chain.
#include "lamp/nets/blocks.h"

#include <torch/nn/modules/activation.h>
#include <torch/nn/modules/linear.h>
#include <torch/utils.h>

#include <algorithm>
#include <optional>
#include <utility>

#include "lamp/nets/packed_conv.h"
#include "lamp/nets/slab_conv.h"
#include "lamp/sequence/skip_layers.h"

namespace lamp {
namespace {

constexpr double kSlope = 0.01;

DeferrableBatchNorm3d make_norm(std::int64_t channels) {
  return DeferrableBatchNorm3d(torch::nn::BatchNorm3dOptions(channels).eps(1e-5).momentum(0.1));
}

// A convolution that is only run, with its activation if it has one.
template <typename Conv>
class InferenceConv : public Layer {
 public:
  InferenceConv(const Conv& conv, bool activated)
      : conv_(register_module("conv", conv)), activated_(activated) {}

  torch::Tensor forward(torch::Tensor input, SkipPort&) override { return run(input); }
  torch::Tensor run(const torch::Tensor& input) {
    RunContext* run = RunContext::current();
    if (run == nullptr || run->slabs == nullptr) return kernel(input, conv_->geometry());
    return run_on_slab(slab_conv(*run, conv_->weight.sizes(), conv_->geometry()), input,
                       conv_->weight,
                       [this](const torch::Tensor& planes, const ConvGeometry& geometry) {
                         return kernel(planes, geometry);
                       });
  }
  std::optional<PlaneRule> plane_rule(std::int64_t axis) const override {
    return conv_->plane_rule(axis);
  }
  std::shared_ptr<torch::nn::Module> named_module() override { return conv_.ptr(); }

 private:
  torch::Tensor kernel(const torch::Tensor& input, const ConvGeometry& geometry) {
    const torch::Tensor result = packed_.run(input, conv_->weight, conv_->bias, geometry,
                                             activated_ ? std::optional(kSlope) : std::nullopt);
    if (result.defined()) return result;
    return activated_ ? activate(conv_->run(input, geometry)) : conv_->run(input, geometry);
  }

  Conv conv_;
  bool activated_;
  PackedConvolution packed_;
};

// A shortcut whose norm is folded into its convolution.
class FoldedShortcut : public Layer {
 public:
  FoldedShortcut(std::string skip, const GuardedConv3d& conv)
      : skip_(std::move(skip)),
        conv_(
            register_module("conv", std::make_shared<InferenceConv<GuardedConv3d>>(conv, false))) {}

  torch::Tensor forward(torch::Tensor input, SkipPort& skips) override {
    skips.stash(skip_, conv_->run(input));
    return input;
  }
  std::vector<std::string> stashes() const override { return {skip_}; }
  std::optional<PlaneRule> plane_rule(std::int64_t) const override { return PlaneRule{}; }

 private:
  std::string skip_;
  std::shared_ptr<InferenceConv<GuardedConv3d>> conv_;
};

// Stashes the block's shortcut, computed before the block because it is never larger than the
// block's input.
class Shortcut : public Layer {
 public:
  Shortcut(std::string skip, const ResidualShape& shape)
      : skip_(std::move(skip)),
        path_(register_module("path",
                              torch::nn::Sequential(make_conv({.in = shape.in,
                                                               .out = shape.out,
                                                               .kernel = shape.shortcut_kernel,
                                                               .stride = shape.stride}),
                                                    make_norm(shape.out)))) {}

  torch::Tensor forward(torch::Tensor input, SkipPort& skips) override {
    skips.stash(skip_, path_->forward(input));
    return input;
  }
  std::vector<std::string> stashes() const override { return {skip_}; }
  std::optional<PlaneRule> plane_rule(std::int64_t) const override { return PlaneRule{}; }
  std::shared_ptr<torch::nn::Module> named_module() override { return path_.ptr(); }
  std::shared_ptr<Layer> inference_form() override {
    const auto conv = std::dynamic_pointer_cast<torch::nn::Conv3dImpl>(path_->ptr(0));
    const auto norm = std::dynamic_pointer_cast<torch::nn::BatchNorm3dImpl>(path_->ptr(1));
    return std::make_shared<FoldedShortcut>(skip_, fold_norm(*conv, *norm));
  }

 private:
  std::string skip_;
  torch::nn::Sequential path_;
};

// ResidualEnd with excitation in one pass over the volume less.
class FoldedResidualEnd : public Layer {
 public:
  FoldedResidualEnd(std::string skip, SqueezeExcitation excitation)
      : skip_(std::move(skip)), excitation_(register_module("excitation", std::move(excitation))) {}

  torch::Tensor forward(torch::Tensor input, SkipPort& skips) override {
    const torch::Tensor shortcut = skips.pop(skip_);
    return activate(torch::addcmul(shortcut, input, excitation_->scale(input)));
  }
  std::vector<std::string> pops() const override { return {skip_}; }
  std::optional<PlaneRule> plane_rule(std::int64_t) const override { return PlaneRule{}; }

 private:
  std::string skip_;
  SqueezeExcitation excitation_;
};

// The end of a residual block: excitation (where there is one), sum with the shortcut, activation.
class ResidualEnd : public Layer {
 public:
  ResidualEnd(std::string skip, std::int64_t channels, std::int64_t squeezed)
      : skip_(std::move(skip)) {
    if (squeezed > 0)
      excitation_ = register_module("excitation", SqueezeExcitation(channels, squeezed));
  }

  torch::Tensor forward(torch::Tensor input, SkipPort& skips) override {
    const torch::Tensor shortcut = skips.pop(skip_);
    if (excitation_.is_empty()) return activate(input + shortcut);
    return activate(excitation_->forward(input).add_(shortcut));
  }
  std::vector<std::string> pops() const override { return {skip_}; }
  std::optional<PlaneRule> plane_rule(std::int64_t) const override { return PlaneRule{}; }
  std::shared_ptr<torch::nn::Module> named_module() override {
    return excitation_.is_empty() ? shared_from_this() : excitation_.ptr();
  }
  std::shared_ptr<Layer> inference_form() override {
    if (excitation_.is_empty()) return nullptr;
    return std::make_shared<FoldedResidualEnd>(skip_, excitation_);
  }

 private:
  std::string skip_;
  SqueezeExcitation excitation_{nullptr};
};

// [N, C], of the whole volumes, also where the input is a slab of them.
torch::Tensor volume_means(const torch::Tensor& input) {
  const RunContext* run = RunContext::current();
  if (run == nullptr || run->slabs == nullptr) return input.mean({2, 3, 4});
  const auto type = input.scalar_type() == torch::kFloat64 ? torch::kFloat64 : torch::kFloat32;
  const std::int64_t own = input.size(run->slabs->axis());
  const double voxels = static_cast<double>(input.numel() / input.size(0) / input.size(1) / own) *
                        static_cast<double>(run->planes);
  const torch::Tensor sums = input.sum({2, 3, 4}, /*keepdim=*/false, type);
  return (all_reduce(run->slabs, sums) / voxels).to(input.scalar_type());
}

}  // namespace

GuardedConv3d make_conv(const ConvShape& shape) {
  return GuardedConv3d(torch::nn::Conv3dOptions(shape.in, shape.out, shape.kernel)
                           .stride(shape.stride)
                           .padding((shape.kernel - 1) / 2)
                           .bias(shape.bias));
}

GuardedConvTranspose3d make_upsampling(std::int64_t in, std::int64_t out) {
  return GuardedConvTranspose3d(torch::nn::ConvTranspose3dOptions(in, out, 2).stride(2));
}

GuardedConv3d fold_norm(const torch::nn::Conv3dImpl& conv, const torch::nn::BatchNorm3dImpl& norm) {
  const torch::NoGradGuard no_grad;
  const torch::Tensor scale = norm.weight.to(torch::kFloat64) /
                              (norm.running_var.to(torch::kFloat64) + norm.options.eps()).sqrt();
  GuardedConv3d folded(torch::nn::Conv3dOptions(conv.options.in_channels(),
                                                conv.options.out_channels(),
                                                conv.options.kernel_size())
                           .stride(conv.options.stride())
                           .padding(conv.options.padding())
                           .bias(true));
  folded->to(conv.weight.device(), conv.weight.scalar_type());
  folded->weight.copy_(conv.weight.to(torch::kFloat64) * scale.view({-1, 1, 1, 1, 1}));
  const torch::Tensor shift =
      conv.bias.defined() ? norm.running_mean - conv.bias : norm.running_mean;
  folded->bias.copy_(norm.bias.to(torch::kFloat64) - shift.to(torch::kFloat64) * scale);
  folded->eval();
  return folded;
}

torch::Tensor activate(torch::Tensor fresh) { return torch::leaky_relu_(fresh, kSlope); }

std::shared_ptr<Layer> inference_conv(const GuardedConv3d& conv, bool activated) {
  return std::make_shared<InferenceConv<GuardedConv3d>>(conv, activated);
}

std::shared_ptr<Layer> inference_conv(const GuardedConvTranspose3d& conv, bool activated) {
  return std::make_shared<InferenceConv<GuardedConvTranspose3d>>(conv, activated);
}

bool is_activation(const TensorFunction& function) {
  const auto* plain = function.target<torch::Tensor (*)(torch::Tensor)>();
  return plain != nullptr && *plain == &activate;
}

Link conv_link(std::string name, const ConvShape& shape) {
  return {std::move(name), as_layer(make_conv(shape))};
}

Link norm_activation_link(std::string name, std::int64_t channels) {
  return {std::move(name), as_layer(make_norm(channels), activate)};
}

Link stash_link(std::string name, std::string skip) {
  return {std::move(name), std::make_shared<StashSkip>(std::move(skip))};
}

Link concat_link(std::string name, std::string skip) {
  return {std::move(name), std::make_shared<ConcatSkip>(std::move(skip))};
}

Link upsampling_link(std::string name, std::int64_t in, std::int64_t out) {
  return {std::move(name), as_layer(make_upsampling(in, out))};
}

void append_head(Links& links, const std::string& up, const std::string& out, std::int64_t width,
                 std::int64_t classes) {
  const std::int64_t channels = std::clamp<std::int64_t>(width / 2, 1, 32);
  links.push_back({up, as_layer(make_upsampling(width, channels), activate)});
  links.push_back(conv_link(out, {.in = channels, .out = classes, .bias = true}));
}

SqueezeExcitationImpl::SqueezeExcitationImpl(std::int64_t channels, std::int64_t squeezed)
    : fc_(register_module(
          "fc", torch::nn::Sequential(
                    torch::nn::Linear(channels, squeezed),
                    torch::nn::LeakyReLU(torch::nn::LeakyReLUOptions().negative_slope(kSlope)),
                    torch::nn::Linear(squeezed, channels), torch::nn::Sigmoid()))) {}

torch::Tensor SqueezeExcitationImpl::scale(const torch::Tensor& input) {
  return fc_->forward(volume_means(input)).view({input.size(0), input.size(1), 1, 1, 1});
}

torch::Tensor SqueezeExcitationImpl::forward(torch::Tensor input) { return input * scale(input); }

void append_residual_block(Links& links, const std::string& name, const ResidualShape& shape) {
  const std::string skip = name + ".shortcut";
  const bool changes = shape.in != shape.out || shape.stride != 1;
  if (changes)
    links.push_back({name + ".downsample", std::make_shared<Shortcut>(skip, shape)});
  else
    links.push_back(stash_link(skip, skip));
  links.push_back(
      conv_link(name + ".conv1", {.in = shape.in, .out = shape.out, .stride = shape.stride}));
  links.push_back(norm_activation_link(name + ".bn1", shape.out));
  links.push_back(conv_link(name + ".conv2", {.in = shape.out, .out = shape.out}));
  links.push_back({name + ".bn2", as_layer(make_norm(shape.out))});
  links.push_back({name + (shape.squeezed > 0 ? ".se" : ".sum"),
                   std::make_shared<ResidualEnd>(skip, shape.out, shape.squeezed)});
}

}  // namespace lamp
