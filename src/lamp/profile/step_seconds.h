// What every link of a chain takes inside a whole step: one graph over all links, as a stage builds
// it, so that memory is as warm or cold as it is in a step. A link that runs alone finds its memory
// in place, where a step gets pages that nobody has touched: 4 to 24 % less was measured so.
#pragma once

#include <torch/types.h>

#include <functional>
#include <vector>

#include "lamp/profile/measured_costs.h"
#include "lamp/sequence/sequence.h"

namespace lamp {

struct StepSeconds {
  struct Link {
    double forward = 0;
    double backward = 0;
  };
  std::vector<Link> links;
  double loss = 0;  // forward and backward; 0 without one
};

// Forward, loss and backward of one micro-batch [n, ...] on the chain's device, in training mode
// under the caller's precision. The gradients stay in the parameters. `on_link` is called before
// each link's forward.
StepSeconds time_step(Sequence& chain, const torch::Tensor& input, const OutputLoss& loss,
                      const std::function<void()>& on_link);

// Of each number the median, or the mean, over the rounds.
StepSeconds median_of(const std::vector<StepSeconds>& rounds);
StepSeconds mean_of(const std::vector<StepSeconds>& rounds);

// Of each number `share` of the second's and the rest of the first's.
StepSeconds blended(const StepSeconds& first, const StepSeconds& second, double share);

// In place of the costs' own seconds, in which there are then no exchanges; of the weights' part of
// a backward its share stays.
void take_seconds(NetworkCosts& costs, const StepSeconds& step);

}  // namespace lamp
