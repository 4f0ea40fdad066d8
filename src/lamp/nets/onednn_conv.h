// oneDNN's fp32 convolutions behind torch's dispatch stubs, which do not choose between kernels.
// torch exports them in its x86 builds without promising them, so CMake tries whether they link and
// takes onednn_conv.cpp or onednn_conv_none.cpp.
#pragma once

#include "lamp/nets/conv_kernel.h"

namespace lamp {

// False where the others must not be called.
bool have_onednn_convolution();

// Contiguous or channels last, as input or weight ask for. No graph.
torch::Tensor onednn_convolution(const torch::Tensor& input, const torch::Tensor& weight,
                                 const torch::Tensor& bias, const ConvGeometry& geometry);
ConvGradients onednn_gradients(const torch::Tensor& output, const torch::Tensor& input,
                               const torch::Tensor& weight, const ConvGeometry& geometry,
                               const WantedGradients& wanted);

}  // namespace lamp
