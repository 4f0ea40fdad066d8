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

struct CaseSplit {
  std::vector<std::size_t> training;
  std::vector<std::size_t> validation;
};

// Moves the data set's own validation cases, where it names some, behind its training cases;
// otherwise splits those as split_cases does.
CaseSplit split_dataset(Dataset& dataset, const ValidationConfig& config, std::uint64_t seed);

// Indices into the data set's training cases. Without a fold: a share of at least one case (if the
// fraction is not zero and two cases are there), drawn by the seed.
CaseSplit split_cases(const std::vector<Case>& cases, const ValidationConfig& config,
                      std::uint64_t seed);

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
