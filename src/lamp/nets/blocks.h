// The parts that the networks share. Every convolution, norm and squeeze is made here and nowhere
// else, so that a later way to run them (a volume split over devices, a weight gradient on its own)
// has one place to change.
#pragma once

#include <torch/nn/modules/batchnorm.h>
#include <torch/nn/modules/container/sequential.h>
#include <torch/nn/modules/conv.h>
#include <torch/types.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "lamp/nets/guarded_conv.h"
#include "lamp/sequence/batch_norm.h"
#include "lamp/sequence/sequence.h"

namespace lamp {

using Links = std::vector<Link>;

struct ConvShape {
  std::int64_t in;
  std::int64_t out;
  std::int64_t kernel = 3;  // padding (kernel - 1) / 2: stride 1 keeps the size, stride 2 halves it
  std::int64_t stride = 1;
  bool bias = false;
};

GuardedConv3d make_conv(const ConvShape& shape);
// Kernel 2, stride 2, with bias: doubles D, H and W. Its weight is [in, out, 2, 2, 2].
GuardedConvTranspose3d make_upsampling(std::int64_t in, std::int64_t out);
// One convolution equal to `conv` followed by `norm` in evaluation mode: w * g / sqrt(v + eps) and
// b + (conv's bias - m) * g / sqrt(v + eps), computed in double.
GuardedConv3d fold_norm(const torch::nn::Conv3dImpl& conv, const torch::nn::BatchNorm3dImpl& norm);
// Slope 0.01, in place: only for what the calling layer has just computed with an operation whose
// backward does not need its own output (convolution, batch norm, sum).
torch::Tensor activate(torch::Tensor fresh);
// conv, then activate() if asked for, as a layer that cannot be trained (packed_conv.h).
std::shared_ptr<Layer> inference_conv(const GuardedConv3d& conv, bool activated);
std::shared_ptr<Layer> inference_conv(const GuardedConvTranspose3d& conv, bool activated);
// Whether a layer's function after its module (ModuleLayer::then) is activate().
bool is_activation(const TensorFunction& function);

// One link each: convolution; norm with activation.
Link conv_link(std::string name, const ConvShape& shape);
Link norm_activation_link(std::string name, std::int64_t channels);
Link stash_link(std::string name, std::string skip);
Link concat_link(std::string name, std::string skip);
Link upsampling_link(std::string name, std::int64_t in, std::int64_t out);
// Upsampling, activation, then the 3^3 convolution to the classes: both networks of the U-Net kind
// end so.
void append_head(Links& links, const std::string& up, const std::string& out, std::int64_t width,
                 std::int64_t classes);

// AnatomyNet's squeeze-and-excitation: the channels' means over the volume, linear to `squeezed`,
// activation, linear back, sigmoid: x * s. [N, C, D, H, W] in and out.
class SqueezeExcitationImpl : public torch::nn::Module {
 public:
  SqueezeExcitationImpl(std::int64_t channels, std::int64_t squeezed);
  torch::Tensor forward(torch::Tensor input);
  // s alone: [N, C, 1, 1, 1].
  torch::Tensor scale(const torch::Tensor& input);

 private:
  torch::nn::Sequential fc_;
};
TORCH_MODULE(SqueezeExcitation);

struct ResidualShape {
  std::int64_t in;
  std::int64_t out;
  std::int64_t stride = 1;
  std::int64_t squeezed = 0;         // width of the squeeze-and-excitation; 0 = none
  std::int64_t shortcut_kernel = 1;  // there is a shortcut where channels or stride change
};

// AnatomyNet's residual block as a row of links, so that the chain can be cut inside it: the
// shortcut is stashed first, then conv1, bn1 + activation, conv2, bn2, and last
// squeeze-and-excitation + pop of the shortcut + sum + activation.
void append_residual_block(Links& links, const std::string& name, const ResidualShape& shape);

}  // namespace lamp
