// Real Dice on held-out cases: each is segmented whole, and the hard labels are compared with the
// reference on the network's grid.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "lamp/cases/case_store.h"
#include "lamp/nets/network.h"
#include "lamp/training/train_config.h"

namespace lamp {

// How good a network is on the held-out cases: what best.safetensors is chosen by.
struct Validation {
  // By foreground label the mean over the cases, without those in which the label is not annotated
  // or neither map holds it; NaN if none is left. 0 in a case where only the prediction holds it.
  std::vector<double> dice;
  // Voxels of annotated labels that were predicted in cases whose reference lacks the label.
  std::int64_t false_positives = 0;
  bool scored = false;  // a held-out case has an annotated label at all

  // Mean of `dice` without NaN, as `lamp evaluate` computes it. Where that leaves nothing, since
  // neither the references nor the predictions hold any annotated label, it is 1: nothing was there
  // and nothing was found. NaN if nothing is annotated.
  double dice_mean() const;
  // "0.8312", with what the number rests on where that is not obvious.
  std::string describe() const;
};

// Counts the cases together, one after another. Maps are [D, H, W] integer tensors; voxels whose
// reference is below 0 (no scan showed them) count for nothing.
class ValidationCounter {
 public:
  explicit ValidationCounter(int classes);
  void add(const torch::Tensor& predicted, const torch::Tensor& reference,
           const std::vector<int>& annotated);
  Validation result() const;

 private:
  int classes_;
  std::vector<std::vector<double>> columns_;  // by foreground label, a Dice a case
  std::int64_t false_positives_ = 0;
  bool scored_ = false;
};

// [1, C, D, H, W] -> logits [1, K, D, H, W], on any device.
using WholePrediction = std::function<torch::Tensor(const torch::Tensor&)>;

// Segments the cases. Puts the network into evaluation mode and back.
Validation validate(Network& network, CaseStore& store, const std::vector<std::size_t>& cases,
                    const WholePrediction& predict);

}  // namespace lamp
