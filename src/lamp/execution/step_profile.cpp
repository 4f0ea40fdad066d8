// Networks of its own, as a plan's stages are at work on their device.
#include "lamp/execution/step_profile.h"

#include <ATen/CPUGeneratorImpl.h>
#include <torch/types.h>
#include <torch/utils.h>

#include <algorithm>
#include <iterator>
#include <new>
#include <utility>

#include "lamp/base/device.h"
#include "lamp/base/interrupt.h"
#include "lamp/base/memory_counter.h"
#include "lamp/base/out_of_memory.h"
#include "lamp/base/stopwatch.h"
#include "lamp/execution/numeric_guard.h"
#include "lamp/execution/plan_costs.h"
#include "lamp/execution/replica_costs.h"
#include "lamp/execution/slab_costs.h"
#include "lamp/inference/memory_estimate.h"
#include "lamp/nets/net_factory.h"
#include "lamp/nets/precision.h"
#include "lamp/objective/losses.h"
#include "lamp/pipeline/no_autocast_cache.h"
#include "lamp/planner/memory_model.h"
#include "lamp/planner/overlap.h"
#include "lamp/sequence/run_context.h"

namespace lamp {
namespace {

c10::Device device_of(const StepWork& work) { return work.input.device(); }

}  // namespace

Network network_on(const PlanOptions& options, c10::Device device) {
  Network network = make_network(options.net);
  network.initialise(options.seed);
  network.chain->to(device);
  if (training_layout(options.execution, options.net) == Layout::kChannelsLast)
    network.use_channels_last();
  network.chain->train();
  return network;
}

StepWork step_work(const PlanOptions& options, const Network& network, std::int64_t samples) {
  const c10::Device device = network.chain->parameters().front().device();
  const auto generator = at::make_generator<at::CPUGeneratorImpl>(options.seed);
  const auto [x, y, z] = options.input;
  const torch::Tensor image =
      torch::randn({samples, options.net.in_channels, z, y, x}, generator).to(device);
  const torch::Tensor labels = torch::randint(options.net.classes, {samples, z, y, x}, generator)
                                   .to(torch::kUInt8)
                                   .to(device);
  const torch::Tensor flags = torch::ones({samples, options.net.classes}, device);
  const std::shared_ptr<Loss> loss = make_loss({}, torch::ones({options.net.classes}, device));
  return {network.chain, network.prepare(image),
          [network, image, labels, flags, loss](const torch::Tensor& output) {
            return (*loss)(network.crop(output, image), labels, flags);
          }};
}

double update_seconds(torch::optim::Optimizer& optimizer, const NamedParameters& parameters) {
  const c10::Device device = parameters.front().second.device();
  wait_for(device);
  const Stopwatch watch;
  gradient_norm(parameters);
  optimizer.step();
  wait_for(device);
  return watch.seconds();
}

std::int64_t step_bytes(const NetworkCosts& costs, int copies) {
  const MemoryModel memory(costs, {.devices = {{"one"}}, .optimizer_factor = 0});
  return copies * memory.stage_peak_bytes(0, {0, costs.layers.size()}, RecomputeRule::kNever);
}

StepProfile::StepProfile(const PlanOptions& options, const Network& network, std::int64_t samples,
                         int copies, int threads)
    : options_(options), threads_(threads), parameters_(named_parameters(network)) {
  works_.push_back(step_work(options, network, samples));
  while (std::ssize(works_) < copies)
    works_.push_back(step_work(options, network_on(options, device_of(works_.front())), samples));
}

StepSeconds StepProfile::alone(const std::function<void()>& on_link) {
  StepWork& work = works_.front();
  const ThreadsScope threads(threads_);
  const c10::Device device = device_of(work);
  const PrecisionScope precision(parse_precision(options_.execution.precision, device.type()),
                                 device);
  const NoAutocastCache no_cache;
  RunContext context;  // so that dropout leaves torch's generator alone
  const RunScope scope(context);
  return time_step(*work.chain, work.input, work.loss, on_link);
}

StepSeconds StepProfile::side_by_side(const std::function<void()>& on_link) {
  const c10::Device device = device_of(works_.front());
  const PrecisionScope precision(parse_precision(options_.execution.precision, device.type()),
                                 device);
  if (!all_) all_.emplace(works_, threads_);
  return all_->time_step(on_link);
}

double StepProfile::update() {
  if (!optimizer_) optimizer_ = make_optimizer(options_.optimizer, parameters_);
  return update_seconds(*optimizer_, parameters_);
}

void StepProfile::drop_gradients() {
  for (const StepWork& work : works_)
    for (const auto& parameter : work.chain->parameters()) parameter.mutable_grad().reset();
}

RepeatedPrediction::RepeatedPrediction(const NetworkPlan& chosen, double overlap, int copies)
    : plan_(chosen.plan),
      overlap_(overlap),
      shares_(slab_shares_of_seconds(chosen.options, *shapes_of(chosen.options))),
      device_(parse_devices(chosen.options.execution.device).front()) {
  const double share_of_replica = replica_share_of_seconds(chosen.options);
  for (double& share : shares_) share *= plan_.setup.mean_share() * share_of_replica;
  if (device_.is_cpu()) count_cpu_memory();
  const std::int64_t before = allocated_bytes(device_);
  profile_.emplace(chosen.options, network_on(chosen.options, device_), plan_.costs.samples, copies,
                   std::max(1, at::get_num_threads() / plan_.setup.sharing()));
  round();
  held_bytes_ = allocated_bytes(device_) - before;
}

std::unique_ptr<RepeatedPrediction> RepeatedPrediction::make(const NetworkPlan& chosen) {
  const Plan& plan = chosen.plan;
  const double overlap = overlap_of(plan.setup, plan.simulation.timeline);
  const int copies = overlap > 0 ? plan.setup.sharing() : 1;
  const c10::Device device = parse_devices(chosen.options.execution.device).front();
  const auto needed = static_cast<double>(plan.balance.peak_bytes.front()) +
                      static_cast<double>(step_bytes(plan.costs, copies)) *
                          static_cast<double>(plan.setup.slabs_of_replica()) /
                          static_cast<double>(plan.setup.slabs_on_device());
  if (needed > kShareWithoutWorkspaces * static_cast<double>(available_bytes(device)))
    return nullptr;
  try {
    return std::unique_ptr<RepeatedPrediction>(new RepeatedPrediction(chosen, overlap, copies));
  } catch (const std::bad_alloc&) {
    return nullptr;
  } catch (const c10::Error& error) {
    if (!is_out_of_memory(error)) throw;
    return nullptr;
  }
}

double RepeatedPrediction::round() {
  const auto on_link = [] { throw_if_interrupted("nothing was written"); };
  StepSeconds seconds = profile_->alone(on_link);
  if (overlap_ > 0) seconds = blended(seconds, profile_->side_by_side(on_link), overlap_);
  const double update =
      profile_->update() / static_cast<double>(plan_.setup.distinct_devices().size());
  profile_->drop_gradients();
  NetworkCosts costs = plan_.costs;
  take_seconds(costs, seconds);
  share_seconds(costs, shares_);
  return simulate_with(plan_, costs).makespan + update + plan_.merge_s;
}

}  // namespace lamp
