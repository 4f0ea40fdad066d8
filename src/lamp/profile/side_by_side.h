// Whole steps of several networks at the same time, as stages that share a device are at work: they
// share its caches and its memory, so that a layer takes longer than alone.
#pragma once

#include <torch/types.h>

#include <functional>
#include <memory>
#include <vector>

#include "lamp/pipeline/worker.h"
#include "lamp/profile/measured_costs.h"
#include "lamp/profile/step_seconds.h"
#include "lamp/sequence/sequence.h"

namespace lamp {

// A network and a micro-batch for it.
struct StepWork {
  std::shared_ptr<Sequence> chain;
  torch::Tensor input;  // [n, ...] on the chain's device
  OutputLoss loss;
};

// One caller at a time.
class SideBySide {
 public:
  // No two works may share a chain. threads: of each, on the CPU.
  SideBySide(std::vector<StepWork> works, int threads);

  // time_step() of all works, which begin together, each on a thread of its own under the caller's
  // precision; of each number the mean. Only the first one calls `on_link`. Throws what the first
  // of them that failed threw, when all are done.
  StepSeconds time_step(const std::function<void()>& on_link);

 private:
  std::vector<StepWork> works_;
  int threads_;
  std::vector<std::unique_ptr<Worker>> workers_;  // last: they use the others
};

}  // namespace lamp
