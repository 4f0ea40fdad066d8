// Statistics of batch norms as one tensor, for other processes with the same chain.
#pragma once

#include <torch/types.h>

#include <vector>

#include "lamp/sequence/run_context.h"
#include "lamp/sequence/sequence.h"

namespace lamp {

// One dimension of fp64 on the CPU, to the last bit; undefined for none. The norms are the chain's.
torch::Tensor statistics_tensor(const std::vector<NormStatistics>& statistics,
                                const Sequence& chain);
// For the norms in the same places of this chain. Throws Error where it is no such tensor.
std::vector<NormStatistics> statistics_from(const torch::Tensor& tensor, const Sequence& chain);

}  // namespace lamp
