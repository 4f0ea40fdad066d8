// How much memory a tensor's own elements take.
#pragma once

#include <torch/types.h>

#include <cstdint>

namespace lamp {

inline std::int64_t bytes_of(const torch::Tensor& tensor) {
  return static_cast<std::int64_t>(tensor.nbytes());
}

}  // namespace lamp
