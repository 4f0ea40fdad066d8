// Networks with random weights on random input: speed and memory do not depend on values.
#include "lamp/execution/plan_costs.h"

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/Parallel.h>
#include <torch/types.h>

#include <algorithm>
#include <chrono>
#include <map>
#include <new>
#include <string>
#include <utility>

#include "lamp/base/device.h"
#include "lamp/base/interrupt.h"
#include "lamp/base/log.h"
#include "lamp/base/out_of_memory.h"
#include "lamp/base/progress.h"
#include "lamp/base/text.h"
#include "lamp/execution/numeric_guard.h"
#include "lamp/execution/optimizer.h"
#include "lamp/inference/memory_estimate.h"
#include "lamp/nets/net_factory.h"
#include "lamp/nets/precision.h"
#include "lamp/objective/losses.h"
#include "lamp/planner/memory_model.h"
#include "lamp/profile/measured_costs.h"
#include "lamp/profile/shape_costs.h"

namespace lamp {
namespace {

constexpr double kAbsentFlopsPerS = 20e12;
constexpr double kFlopsPerByte = 20;  // of devices that are not here: arithmetic to memory
constexpr int kWholeSteps = 3;
// Warm-up, two counted, two of weight gradients, whole steps with their warm-up.
constexpr std::int64_t kMeasuringRounds = 5 + kWholeSteps + 1;
constexpr double kUpdateMoves = 8;  // reads and writes of an optimizer's step and a norm

// Threads for as long as it lives.
class Threads {
 public:
  explicit Threads(int count) { at::set_num_threads(std::max(1, count)); }
  ~Threads() { at::set_num_threads(before_); }
  Threads(const Threads&) = delete;
  Threads& operator=(const Threads&) = delete;

 private:
  int before_ = at::get_num_threads();
};

DeviceSpeed speed_of(const PlanOptions& options) {
  const double flops = options.flops_per_s.value_or(kAbsentFlopsPerS);
  return {.flops_per_s = flops, .memory_bytes_per_s = flops / kFlopsPerByte};
}

Network network_on(const PlanOptions& options, c10::Device device) {
  Network network = make_network(options.net);
  network.initialise(options.seed);
  network.chain->to(device);
  if (training_layout(options.execution, options.net) == Layout::kChannelsLast)
    network.use_channels_last();
  network.chain->train();
  return network;
}

std::vector<std::int64_t> image_sizes(const PlanOptions& options, std::int64_t samples) {
  return {samples, options.net.in_channels, options.input[2], options.input[1], options.input[0]};
}

NetworkCosts measure(const PlanOptions& options, const Network& network, std::int64_t samples,
                     int whole_steps) {
  const c10::Device device = network.chain->parameters().front().device();
  const auto generator = at::make_generator<at::CPUGeneratorImpl>(options.seed);
  const torch::Tensor image = torch::randn(image_sizes(options, samples), generator).to(device);
  const torch::Tensor labels =
      torch::randint(options.net.classes,
                     {samples, options.input[2], options.input[1], options.input[0]}, generator)
          .to(torch::kUInt8)
          .to(device);
  const auto loss = make_loss({}, torch::ones({options.net.classes}, device));
  const PrecisionScope scope(parse_precision(options.execution.precision, device.type()), device);
  const std::string what = "measuring " + counted(samples, "sample") + " of " +
                           size_text(options.input, "x") + " in " + options.execution.precision;
  log_info(what + " on " + device.str());
  Progress progress(what, kMeasuringRounds * static_cast<std::int64_t>(network.chain->size()));
  return measure_costs(
      *network.chain, network.prepare(image),
      [&](const torch::Tensor& output) {
        const torch::Tensor logits = network.crop(output, image);
        return (*loss)(logits, labels, torch::ones({logits.size(0), logits.size(1)}, device));
      },
      {.whole_steps = whole_steps, .on_link = [&] {
         throw_if_interrupted("nothing was written");
         progress.advance("layers");
       }});
}

// What a whole step of one micro-batch holds, without workspaces of kernels and optimizer.
std::int64_t step_bytes(const NetworkCosts& costs) {
  const MemoryModel memory(costs, {.devices = {{"one"}}, .optimizer_factor = 0});
  return memory.stage_peak_bytes(0, {0, costs.layers.size()}, RecomputeRule::kNever);
}

// What the device holds at most while one link after the other is measured, without workspaces.
std::int64_t measuring_bytes(const NetworkCosts& costs) {
  std::int64_t parameters = 0, most = 0, input = costs.input_bytes;
  for (std::size_t link = 0; link < costs.layers.size(); ++link) {
    const LayerCosts& layer = costs.layers[link];
    std::int64_t now = 2 * (input + layer.output_bytes) + layer.saved_bytes + layer.parameter_bytes;
    for (const SkipBytes& skip : costs.skips)
      if (skip.from <= link && link <= skip.to) now += skip.bytes;
    parameters += layer.parameter_bytes;
    most = std::max(most, now);
    input = layer.output_bytes;
  }
  return parameters + std::max(most, input + costs.loss_workspace_bytes);
}

// What was measured so far.
class Profile {
 public:
  explicit Profile(const PlanOptions& options)
      : options_(options),
        device_(parse_devices(options.execution.device).front()),
        shapes_(shape_costs_of(options, shapes_of(options))),
        network_(network_on(options, device_)) {}

  NetworkCosts costs(const CostQuery& query) {
    const std::pair key(query.samples, query.sharing);
    if (const auto found = known_.find(key); found != known_.end()) return found->second;
    return known_.emplace(key, find(query)).first->second;
  }

 private:
  NetworkCosts find(const CostQuery& query) const {
    NetworkCosts shapes = shapes_({.samples = query.samples});
    const std::int64_t available = available_bytes(device_);
    if (measuring_bytes(shapes) > available) return shapes;
    const bool fits = static_cast<double>(step_bytes(shapes)) <
                      kShareWithoutWorkspaces * static_cast<double>(available);
    try {
      const Threads threads(at::get_num_threads() / query.sharing);
      return measure(options_, network_, query.samples, fits ? kWholeSteps : 0);
    } catch (const std::bad_alloc&) {
      return shapes;
    } catch (const c10::Error& error) {
      if (is_out_of_memory(error)) return shapes;
      throw;
    }
  }

  PlanOptions options_;
  c10::Device device_;
  CostProvider shapes_;
  Network network_;
  std::map<std::pair<std::int64_t, int>, NetworkCosts> known_;
};

}  // namespace

CostProvider measured_costs_of(const PlanOptions& options) {
  return [profile = std::make_shared<Profile>(options)](const CostQuery& query) {
    return profile->costs(query);
  };
}

std::shared_ptr<Network> shapes_of(const PlanOptions& options) {
  auto network = std::make_shared<Network>(make_network(options.net));
  network->chain->train();
  keep_shapes_only(*network->chain);
  return network;
}

CostProvider shape_costs_of(const PlanOptions& options, std::shared_ptr<Network> network) {
  return [options, network](const CostQuery& query) {
    std::vector<std::int64_t> sizes = image_sizes(options, query.samples);
    const std::int64_t stride = network->stride_multiple;
    for (std::size_t axis = 2; axis < 5; ++axis)
      sizes[axis] = (sizes[axis] + stride - 1) / stride * stride;
    return shape_costs(*network->chain, sizes, speed_of(options), options.input.voxels());
  };
}

double update_s_per_byte(const PlanOptions& options, bool measured) {
  if (!measured) return kUpdateMoves / speed_of(options).memory_bytes_per_s;
  const c10::Device device = parse_devices(options.execution.device).front();
  const Network network = network_on(options, device);
  const NamedParameters parameters = named_parameters(network);
  double bytes = 0;
  for (const auto& [name, parameter] : parameters) {
    parameter.mutable_grad() = torch::ones_like(parameter);
    bytes += static_cast<double>(parameter.nbytes());
  }
  const auto optimizer = make_optimizer(options.optimizer, parameters);
  double least = std::numeric_limits<double>::max();
  for (int round = 0; round < 3; ++round) {
    const auto start = std::chrono::steady_clock::now();
    gradient_norm(parameters);
    optimizer->step();
    gradient_norm(parameters);  // waits for the device
    least = std::min(
        least, std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  }
  return least / bytes;
}

}  // namespace lamp
