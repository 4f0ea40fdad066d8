// The order of things in a step.
#include "lamp/execution/training_step.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <cmath>
#include <functional>

#include "lamp/base/size3.h"
#include "lamp/base/text.h"
#include "lamp/execution/numeric_guard.h"
#include "lamp/nets/net_factory.h"

namespace lamp {
namespace {

// Chains like the network's, for further slabs and replicas: same layers, same layout.
std::function<std::shared_ptr<Sequence>()> chains_like(const Network& network) {
  return [config = network.config, last = network.channels_last] {
    Network another = make_network(config);
    if (last) another.use_channels_last();
    return another.chain;
  };
}

}  // namespace

TrainingStep::TrainingStep(Network& network, const Loss& loss, const ResolvedExecution& execution,
                           const OptimizerConfig& optimizer, LossScaler& scaler, std::uint64_t seed)
    : network_(network),
      loss_(loss),
      execution_(execution),
      config_(optimizer),
      scaler_(scaler),
      devices_(execution.torch_devices()),
      precision_(parse_precision(execution.precision, devices_.front().type())) {
  if (at::get_num_threads() != execution.threads) at::set_num_threads(execution.threads);
  network_.chain->to(devices_.front());
  if (execution.layout == to_string(Layout::kChannelsLast)) network_.use_channels_last();
  pipeline_ = std::make_unique<Pipeline>(
      network_.chain, PipelineOptions{.devices = devices_,
                                      .partition = execution.partition,
                                      .replicas = static_cast<int>(execution.replicas),
                                      .slabs = static_cast<int>(execution.slabs),
                                      .slab_shares = execution.slab_shares,
                                      .make_chain = chains_like(network_),
                                      .schedule = execution.schedule,
                                      .microbatches = static_cast<int>(execution.microbatches),
                                      .recompute = execution.recompute,
                                      .deferred_batch_norm = execution.deferred_batch_norm,
                                      .seed = seed});
  parameters_ = named_parameters(network_);
  optimizer_ = make_optimizer(config_, parameters_);
}

StepResult TrainingStep::run_pipeline(const StepBatch& batch, std::int64_t key) {
  const torch::Tensor prepared = network_.prepare(batch.image.to(devices_.front()));
  // Once, not for each micro-batch.
  const StepBatch moved{batch.image, batch.label.to(devices_.back()),
                        batch.flags.to(devices_.back())};
  const LossFunction loss = [&](const torch::Tensor& output, const BatchPart& part) {
    return batch_loss(network_, loss_, moved, output, part);
  };
  const std::int64_t samples = prepared.size(0);
  const std::int64_t most =
      most_microbatches(samples / std::min(samples, execution_.replicas),
                        last_three(prepared.sizes()).xyz(), network_.stride_multiple);
  const PrecisionScope scope(precision_, devices_.front());
  return pipeline_->step(
      prepared, loss,
      {.step = key,
       .gradient_scale = scaler_.scale(),
       .microbatches = static_cast<int>(std::min(execution_.microbatches, most))});
}

void TrainingStep::clip(double norm) {
  const double limit = config_.clip_norm;
  if (limit <= 0 || norm <= limit) return;
  for (auto& [name, parameter] : parameters_)
    if (parameter.grad().defined()) parameter.mutable_grad().mul_(limit / norm);
}

StepOutcome TrainingStep::run(const StepBatch& batch, std::int64_t key) {
  network_.chain->train();
  optimizer_->zero_grad(/*set_to_none=*/true);
  StepOutcome outcome;
  outcome.pipeline = run_pipeline(batch, key);
  outcome.loss = outcome.pipeline.loss;
  if (!std::isfinite(outcome.loss))
    throw NotFinite("the loss is " + shortest(outcome.loss) + ", first in " +
                    first_non_finite_layer(network_, batch.image));
  const double scale = scaler_.scale();
  const double norm = gradient_norm(parameters_);
  outcome.gradient_norm = norm / scale;
  outcome.taken = scaler_.unscale(parameters_, norm);
  if (!outcome.taken) {
    if (precision_ == Precision::kFp16 && !scaler_.exhausted()) return outcome;
    throw NotFinite("a gradient is not finite, first in " + first_non_finite_gradient(parameters_));
  }
  clip(outcome.gradient_norm);
  optimizer_->step();
  return outcome;
}

torch::Tensor TrainingStep::predict(const torch::Tensor& image) {
  const torch::Tensor input = network_.prepare(image.to(devices_.front()));
  return network_.crop(pipeline_->predict({input})[0], image);
}

}  // namespace lamp
