// The loss of a step's batch, taken of what the last stage of a pipeline makes of it.
#pragma once

#include <torch/types.h>

#include "lamp/nets/network.h"
#include "lamp/objective/losses.h"
#include "lamp/pipeline/stage.h"

namespace lamp {

struct StepBatch {
  torch::Tensor image;  // [N, C, D, H, W], any size
  torch::Tensor label;  // [N, D, H, W]
  torch::Tensor flags;  // [N, classes]: annotated or not
};

// Of the output [n, classes, D, H, W] of a part of the batch, padded as the network needs it; where
// it is a slab of the volumes, the volumes' loss (LossFunction in pipeline/stage.h).
torch::Tensor batch_loss(const Network& network, const Loss& loss, const StepBatch& batch,
                         const torch::Tensor& output, const BatchPart& part);

}  // namespace lamp
