// The tensors of micro-batches: parts of a mini-batch, and back.
#pragma once

#include <torch/types.h>

#include <vector>

#include "lamp/pipeline/batch_split.h"

namespace lamp {

// Views of dimension 0.
std::vector<torch::Tensor> scatter(const torch::Tensor& batch,
                                   const std::vector<MicroBatch>& parts);
torch::Tensor gather(const std::vector<torch::Tensor>& parts);

}  // namespace lamp
