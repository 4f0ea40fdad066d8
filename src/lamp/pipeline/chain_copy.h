// A further copy of a chain for a worker that computes the same layers on other data: its
// parameters are the chain's own where both lie on one device, so that only gradients take memory
// of their own (gradient_sum.h). Its buffers are its own, so that what a worker writes into them
// hurts nobody.
#pragma once

#include <torch/types.h>

#include <map>
#include <utility>
#include <vector>

#include "lamp/sequence/sequence.h"

namespace lamp {

// A parameter takes the value of another: on one device the memory itself, else a copy.
void take_value(const torch::Tensor& from, const torch::Tensor& to);

class ChainCopy {
 public:
  // Gives the copy the chain's weights as well. Both outlive this. Throws (TORCH_CHECK) where names
  // or shapes of parameters and buffers differ.
  ChainCopy(Sequence& chain, Sequence& copy);

  // Buffers, training mode and wish for gradients of the chain as it is now.
  void refresh();
  // The copy's parameters in the place of these of the chain.
  std::vector<torch::Tensor> counterparts(const std::vector<torch::Tensor>& parameters) const;
  // The chain's batch norm in the place of this one of the copy (NormStatistics::norm).
  void* original(void* norm) const { return norms_.at(norm); }

 private:
  using Pair = std::pair<torch::Tensor, torch::Tensor>;  // of the chain, of the copy

  Sequence* chain_;
  Sequence* copy_;
  std::vector<Pair> parameters_, buffers_;
  std::map<void*, void*> norms_;  // of the copy -> of the chain
};

}  // namespace lamp
