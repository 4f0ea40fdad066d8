// The order of things in a step.
#include "lamp/execution/training_step.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <utility>

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

// Those of other processes may not be here.
std::vector<c10::Device> grid_devices(const ResolvedExecution& execution, bool are_all_here) {
  if (are_all_here) return execution.torch_devices();
  std::vector<c10::Device> devices;
  for (const std::string& name : execution.devices) devices.emplace_back(name);
  return devices;
}

}  // namespace

TrainingStep::TrainingStep(Network& network, const Loss& loss, const ResolvedExecution& execution,
                           const OptimizerConfig& optimizer, LossScaler& scaler, std::uint64_t seed,
                           std::shared_ptr<PipelineLinks> links)
    : network_(network),
      loss_(loss),
      execution_(execution),
      config_(optimizer),
      scaler_(scaler),
      links_(std::move(links)),
      devices_(grid_devices(execution, links_ == nullptr)),
      first_(links_ ? devices_.at(links_->row()) : devices_.front()),
      last_(links_ ? first_ : devices_.back()),
      precision_(parse_precision(execution.precision, first_.type())) {
  if (!links_ && at::get_num_threads() != execution.threads) at::set_num_threads(execution.threads);
  network_.chain->to(first_);
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
                                      .threads_per_stage = links_ ? at::get_num_threads() : 0,
                                      .seed = seed,
                                      .links = links_});
  parameters_ = named_parameters(network_);
  optimizer_ = make_optimizer(config_, parameters_);
}

StepResult TrainingStep::run_pipeline(const StepBatch& batch, std::int64_t key) {
  const torch::Tensor prepared = network_.prepare(batch.image.to(first_));
  // Once, not for each micro-batch.
  const StepBatch moved{batch.image, batch.label.to(last_), batch.flags.to(last_)};
  const LossFunction loss = [&](const torch::Tensor& output, const BatchPart& part) {
    return batch_loss(network_, loss_, moved, output, part);
  };
  const std::int64_t samples = prepared.size(0);
  const std::int64_t most =
      most_microbatches(samples / std::min(samples, execution_.replicas),
                        last_three(prepared.sizes()).xyz(), network_.stride_multiple);
  const PrecisionScope scope(precision_, first_);
  return pipeline_->step(
      prepared, loss,
      {.step = key,
       .gradient_scale = scaler_.scale(),
       .microbatches = static_cast<int>(std::min(execution_.microbatches, most))});
}

double TrainingStep::norm_of_gradients() {
  return links_ ? gradient_norm(parameters_, *links_, execution_.threads)
                : gradient_norm(parameters_);
}

// No process has all weights.
std::string TrainingStep::what_is_not_finite(const StepBatch& batch, double loss) {
  const std::string what = "the loss is " + shortest(loss);
  if (links_) return what + " (in a run of one process the layer would be named)";
  return what + ", first in " + first_non_finite_layer(network_, batch.image);
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
  if (!std::isfinite(outcome.loss)) throw NotFinite(what_is_not_finite(batch, outcome.loss));
  const double scale = scaler_.scale();
  const double norm = norm_of_gradients();
  outcome.gradient_norm = norm / scale;
  outcome.taken = scaler_.unscale(parameters_, norm);
  if (!outcome.taken) {
    if (precision_ == Precision::kFp16 && !scaler_.exhausted()) return outcome;
    throw NotFinite("a gradient is not finite, first in " +
                    (links_ ? first_non_finite_gradient(parameters_, *links_)
                            : first_non_finite_gradient(parameters_)));
  }
  clip(outcome.gradient_norm);
  optimizer_->step();
  return outcome;
}

torch::Tensor TrainingStep::predict(const torch::Tensor& image) {
  const torch::Tensor input = network_.prepare(image.to(first_));
  return network_.crop(pipeline_->predict({input})[0], image);
}

}  // namespace lamp
