// Layers alone for bytes, whole steps for seconds.
#include "lamp/execution/plan_costs.h"

#include <ATen/Parallel.h>
#include <torch/types.h>

#include <algorithm>
#include <functional>
#include <limits>
#include <map>
#include <new>
#include <string>
#include <tuple>
#include <utility>

#include "lamp/base/device.h"
#include "lamp/base/interrupt.h"
#include "lamp/base/log.h"
#include "lamp/base/out_of_memory.h"
#include "lamp/base/progress.h"
#include "lamp/base/stopwatch.h"
#include "lamp/base/text.h"
#include "lamp/execution/optimizer.h"
#include "lamp/execution/replica_costs.h"
#include "lamp/execution/slab_costs.h"
#include "lamp/execution/step_profile.h"
#include "lamp/inference/memory_estimate.h"
#include "lamp/nets/net_factory.h"
#include "lamp/nets/precision.h"
#include "lamp/profile/measured_costs.h"
#include "lamp/profile/shape_costs.h"

namespace lamp {
namespace {

constexpr double kAbsentFlopsPerS = 20e12;
constexpr double kFlopsPerByte = 20;          // of devices that are not here: arithmetic to memory
constexpr int kWholeSteps = 3;                // counted
constexpr std::int64_t kMeasuringRounds = 5;  // of layers: warm-up, two, two of weight gradients
constexpr double kUpdateMoves = 8;            // reads and writes of an optimizer's step and a norm

DeviceSpeed speed_of(const PlanOptions& options) {
  const auto& unequal = options.unequal_flops_per_s;
  const double flops =
      unequal.empty() ? options.flops_per_s.value_or(kAbsentFlopsPerS) : unequal.front();
  return {.flops_per_s = flops, .memory_bytes_per_s = flops / kFlopsPerByte};
}

std::vector<std::int64_t> image_sizes(const PlanOptions& options, std::int64_t samples) {
  return {samples, options.net.in_channels, options.input[2], options.input[1], options.input[0]};
}

std::string measuring(const PlanOptions& options, std::int64_t samples) {
  return "measuring " + counted(samples, "sample") + " of " + size_text(options.input, "x") +
         " in " + options.execution.precision;
}

// What is called before each link: signals are heard, progress is shown.
std::function<void()> on_link(Progress& progress) {
  return [&progress] {
    throw_if_interrupted("nothing was written");
    progress.advance("layers");
  };
}

NetworkCosts measure(const PlanOptions& options, const Network& network, std::int64_t samples) {
  const StepWork work = step_work(options, network, samples);
  const c10::Device device = work.input.device();
  const PrecisionScope scope(parse_precision(options.execution.precision, device.type()), device);
  const std::string what = measuring(options, samples);
  log_info(what + " on " + device.str());
  Progress progress(what, kMeasuringRounds * static_cast<std::int64_t>(network.chain->size()));
  return measure_costs(*work.chain, work.input, work.loss, {.on_link = on_link(progress)});
}

// The median after a warm-up; one step where they are slow.
StepSeconds whole_steps(const std::function<StepSeconds()>& take) {
  std::vector<StepSeconds> rounds;
  double took = 0;
  for (int round = 0; round <= kWholeSteps && took < kSlowRound; ++round) {
    const Stopwatch watch;
    StepSeconds seconds = take();
    took = watch.seconds();
    if (round > 0 || took >= kSlowRound) rounds.push_back(std::move(seconds));
  }
  return median_of(rounds);
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
        shapes_(whole_shape_costs_of(options, shapes_of(options))),
        network_(network_on(options, device_)) {}

  // Of whole volumes.
  NetworkCosts costs(const CostQuery& query) {
    const std::tuple key(query.samples, query.sharing, query.overlap);
    if (const auto found = known_.find(key); found != known_.end()) return found->second;
    return known_.emplace(key, find(query)).first->second;
  }

 private:
  NetworkCosts find(const CostQuery& query) {
    NetworkCosts shapes = shapes_({.samples = query.samples});
    if (measuring_bytes(shapes) > available_bytes(device_)) return shapes;
    try {
      NetworkCosts costs = layers(query);
      if (fits(shapes, 1)) take_seconds(costs, steps(query, shapes));
      return costs;
    } catch (const std::bad_alloc&) {
      return shapes;
    } catch (const c10::Error& error) {
      if (is_out_of_memory(error)) return shapes;
      throw;
    }
  }

  int threads(const CostQuery& query) const {
    return std::max(1, at::get_num_threads() / query.sharing);
  }
  bool fits(const NetworkCosts& shapes, int copies) const {
    return static_cast<double>(step_bytes(shapes, copies)) <
           kShareWithoutWorkspaces * static_cast<double>(available_bytes(device_));
  }

  // Bytes, and seconds of each layer alone.
  const NetworkCosts& layers(const CostQuery& query) {
    const std::pair key(query.samples, query.sharing);
    if (const auto found = layers_.find(key); found != layers_.end()) return found->second;
    const ThreadsScope scope(threads(query));
    return layers_.emplace(key, measure(options_, network_, query.samples)).first->second;
  }

  // Stages that share the device are slower while others are at work: blended as they overlap.
  StepSeconds steps(const CostQuery& query, const NetworkCosts& shapes) {
    const StepSeconds& alone = steps(query, 1);
    if (query.overlap == 0 || !fits(shapes, query.sharing)) return alone;
    return blended(alone, steps(query, query.sharing), query.overlap);
  }

  const StepSeconds& steps(const CostQuery& query, int copies) {
    const std::tuple key(query.samples, query.sharing, copies);
    if (const auto found = steps_.find(key); found != steps_.end()) return found->second;
    Progress progress(measuring(options_, query.samples) + ", whole steps",
                      (kWholeSteps + 1) * static_cast<std::int64_t>(network_.chain->size()));
    StepProfile profile(options_, network_, query.samples, copies, threads(query));
    const StepSeconds found = whole_steps([&] {
      return copies > 1 ? profile.side_by_side(on_link(progress))
                        : profile.alone(on_link(progress));
    });
    profile.drop_gradients();
    return steps_.emplace(key, found).first->second;
  }

  PlanOptions options_;
  c10::Device device_;
  CostProvider shapes_;
  Network network_;
  std::map<std::pair<std::int64_t, int>, NetworkCosts> layers_;      // samples, sharing
  std::map<std::tuple<std::int64_t, int, int>, StepSeconds> steps_;  // and copies
  std::map<std::tuple<std::int64_t, int, double>, NetworkCosts>
      known_;  // samples, sharing, overlap
};

}  // namespace

CostProvider whole_measured_costs_of(const PlanOptions& options) {
  return [profile = std::make_shared<Profile>(options)](const CostQuery& query) {
    return profile->costs(query);
  };
}

CostProvider whole_shape_costs_of(const PlanOptions& options, std::shared_ptr<Network> network) {
  return [options, network = std::move(network)](const CostQuery& query) {
    std::vector<std::int64_t> sizes = image_sizes(options, query.samples);
    const std::int64_t stride = network->stride_multiple;
    for (std::size_t axis = 2; axis < 5; ++axis)
      sizes[axis] = (sizes[axis] + stride - 1) / stride * stride;
    return shape_costs(*network->chain, sizes, speed_of(options), options.input.voxels());
  };
}

CostProvider cut_costs(const PlanOptions& options, std::shared_ptr<Network> network,
                       CostProvider whole) {
  return [options, network = std::move(network), whole = std::move(whole)](const CostQuery& query) {
    NetworkCosts costs = whole(query);
    cut_into_slabs(costs, options, *network);
    add_replicas(costs, options);
    return costs;
  };
}

std::shared_ptr<Network> shapes_of(const PlanOptions& options) {
  auto network = std::make_shared<Network>(make_network(options.net));
  network->chain->train();
  keep_shapes_only(*network->chain);
  return network;
}

CostProvider measured_costs_of(const PlanOptions& options) {
  return cut_costs(options, shapes_of(options), whole_measured_costs_of(options));
}

CostProvider shape_costs_of(const PlanOptions& options, std::shared_ptr<Network> network) {
  return cut_costs(options, network, whole_shape_costs_of(options, network));
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
  for (int round = 0; round < 3; ++round)
    least = std::min(least, update_seconds(*optimizer, parameters));
  return least / bytes;
}

}  // namespace lamp
