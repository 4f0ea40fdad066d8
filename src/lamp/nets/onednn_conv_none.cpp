// For builds of torch that do not export its oneDNN convolutions.
#include <c10/util/Exception.h>

#include "lamp/nets/onednn_conv.h"

namespace lamp {

bool have_onednn_convolution() { return false; }

torch::Tensor onednn_convolution(const torch::Tensor&, const torch::Tensor&, const torch::Tensor&,
                                 const ConvGeometry&) {
  TORCH_CHECK(false, "this program was built without oneDNN's convolutions");
}

ConvGradients onednn_gradients(const torch::Tensor&, const torch::Tensor&, const torch::Tensor&,
                               const ConvGeometry&, const WantedGradients&) {
  TORCH_CHECK(false, "this program was built without oneDNN's convolutions");
}

}  // namespace lamp
