// torch compiles the stubs for AVX-512 and AVX2, and their signatures depend on it.
#define HAVE_AVX512_CPU_DEFINITION
#define HAVE_AVX2_CPU_DEFINITION
#include "lamp/nets/onednn_conv.h"

#include <ATen/native/ConvUtils.h>
#include <ATen/ops/mkldnn_convolution.h>
#include <torch/types.h>

#include <array>
#include <optional>

namespace lamp {
namespace {

// Either of both may ask for channels last.
at::MemoryFormat layout_of(const torch::Tensor& input, const torch::Tensor& weight) {
  return at::native::mkldnn_conv_use_channels_last(input, weight) ? at::MemoryFormat::ChannelsLast3d
                                                                  : at::MemoryFormat::Contiguous;
}

std::optional<torch::Tensor> optional_bias(const torch::Tensor& bias) {
  return bias.defined() ? std::optional(bias.contiguous()) : std::nullopt;
}

}  // namespace

bool have_onednn_convolution() { return true; }

torch::Tensor onednn_convolution(const torch::Tensor& input, const torch::Tensor& weight,
                                 const torch::Tensor& bias, const ConvGeometry& geometry) {
  const auto layout = layout_of(input, weight);
  const torch::Tensor x = input.contiguous(layout), w = weight.contiguous(layout);
  if (geometry.transposed)
    return at::native::mkldnn_convolution_transpose_stub(
        c10::kCPU, x, w, optional_bias(bias), geometry.padding, kZeros, geometry.stride, kOnes, 1);
  return at::mkldnn_convolution(x, w, optional_bias(bias), geometry.padding, geometry.stride, kOnes,
                                1);
}

ConvGradients onednn_gradients(const torch::Tensor& output, const torch::Tensor& input,
                               const torch::Tensor& weight, const ConvGeometry& geometry,
                               const WantedGradients& wanted) {
  const auto layout = layout_of(input, weight);
  const torch::Tensor y = output.contiguous(layout), x = input.contiguous(layout),
                      w = weight.contiguous(layout);
  const std::array<bool, 3> mask = {wanted.input, wanted.weight, wanted.bias};
  auto [of_input, of_weight, of_bias] =
      geometry.transposed
          ? at::native::mkldnn_convolution_transpose_backward_stub(
                c10::kCPU, x, y, w, geometry.padding, kZeros, geometry.stride, kOnes, 1, mask)
          : at::native::mkldnn_convolution_backward_stub(c10::kCPU, x, y, w, geometry.padding,
                                                         geometry.stride, kOnes, 1, mask);
  return {wanted.input ? of_input : torch::Tensor(), wanted.weight ? of_weight : torch::Tensor(),
          wanted.bias ? of_bias : torch::Tensor()};
}

}  // namespace lamp
