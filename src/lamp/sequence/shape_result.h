// What an operation that torch lacks for its meta device, where tensors have sizes and no memory,
// leaves behind there: the planner runs networks on it to learn what they would need.
#pragma once

#include <torch/types.h>

#include <cstdint>
#include <vector>

namespace lamp {

// A meta tensor of these sizes whose graph keeps the input, as those of convolutions and batch
// norms do. The graph cannot be run. Noted in the thread's RunContext, if that asks for it.
torch::Tensor shape_result(const torch::Tensor& input, const torch::Tensor& weight,
                           const std::vector<std::int64_t>& sizes);

}  // namespace lamp
