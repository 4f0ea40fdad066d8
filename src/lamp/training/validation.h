// Real Dice on held-out cases: each is segmented whole, and the hard labels are compared with the
// reference on the network's grid.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <vector>

#include "lamp/data/case_store.h"
#include "lamp/nets/network.h"
#include "lamp/training/train_config.h"

namespace lamp {

// Dice of one case for labels 1 ... classes - 1: NaN where a label is not annotated or neither map
// holds it. predicted, reference: [D, H, W] integer tensors.
std::vector<double> dice_per_label(const torch::Tensor& predicted, const torch::Tensor& reference,
                                   int classes, const std::vector<int>& annotated);

// [1, C, D, H, W] -> logits [1, K, D, H, W], on any device.
using WholePrediction = std::function<torch::Tensor(const torch::Tensor&)>;

// Mean over the cases of dice_per_label, leaving out NaN. Puts the network into evaluation mode and
// back.
std::vector<double> validate(Network& network, CaseStore& store,
                             const std::vector<std::size_t>& cases, const WholePrediction& predict);

}  // namespace lamp
