// One optimizer step, and the only one there is: forward, loss and backward through the pipeline,
// checks that everything is finite, clipping, the optimizer. Training, `lamp bench step` and
// `lamp plan --measure` run it, so that what is measured is what trains.
#pragma once

#include <torch/optim/optimizer.h>
#include <torch/types.h>

#include <cstdint>
#include <memory>

#include "lamp/base/errors.h"
#include "lamp/execution/batch_loss.h"
#include "lamp/execution/loss_scaler.h"
#include "lamp/execution/optimizer.h"
#include "lamp/execution/resolved_execution.h"
#include "lamp/nets/network.h"
#include "lamp/nets/precision.h"
#include "lamp/objective/losses.h"
#include "lamp/pipeline/pipeline.h"

namespace lamp {

// "the loss is nan, first in layer down1": the step was not taken.
class NotFinite : public Error {
 public:
  using Error::Error;
};

struct StepOutcome {
  double loss = 0;
  double gradient_norm = 0;  // L2 over all parameters, before clipping
  bool taken = true;         // false: scaled fp16 gradients overflowed, and the scale is halved
  StepResult pipeline;
};

class TrainingStep {
 public:
  // Moves the network to its devices, in its layout, and takes the plan's threads. Network, loss
  // and scaler must outlive it. links: of a grid over several processes, each of which steps its
  // own stage's parameters on its own device, with the threads that it has; the plan's are those of
  // all. Null = all is here.
  TrainingStep(Network& network, const Loss& loss, const ResolvedExecution& execution,
               const OptimizerConfig& optimizer, LossScaler& scaler, std::uint64_t seed,
               std::shared_ptr<PipelineLinks> links = nullptr);

  // `key`: a number of its own for each step; it keys dropout masks. Throws NotFinite, then the
  // parameters are as before. Loss and norm are the same in all processes, each of which is given
  // the whole batch.
  StepOutcome run(const StepBatch& batch, std::int64_t key);
  // Logits [1, classes, D, H, W] of a whole volume [1, C, D, H, W], as a step sees it; evaluation
  // mode is the caller's business.
  torch::Tensor predict(const torch::Tensor& image);

  torch::optim::Optimizer& optimizer() { return *optimizer_; }
  const NamedParameters& parameters() const { return parameters_; }
  const Pipeline& pipeline() const { return *pipeline_; }

 private:
  StepResult run_pipeline(const StepBatch& batch, std::int64_t key);
  double norm_of_gradients();
  std::string what_is_not_finite(const StepBatch& batch, double loss);
  void clip(double norm);

  Network& network_;
  const Loss& loss_;
  ResolvedExecution execution_;
  OptimizerConfig config_;
  LossScaler& scaler_;
  std::shared_ptr<PipelineLinks> links_;
  std::vector<c10::Device> devices_;  // of all
  c10::Device first_, last_;          // where inputs and labels belong
  Precision precision_;
  std::unique_ptr<Pipeline> pipeline_;
  NamedParameters parameters_;
  std::unique_ptr<torch::optim::Optimizer> optimizer_;
};

}  // namespace lamp
