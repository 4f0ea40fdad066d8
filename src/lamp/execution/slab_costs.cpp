// Shares, and planes counted by the layers' rules.
#include "lamp/execution/slab_costs.h"

#include <ATen/Parallel.h>
#include <torch/nn/modules/batchnorm.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "lamp/base/device.h"
#include "lamp/base/errors.h"
#include "lamp/base/setting_name.h"
#include "lamp/base/text.h"
#include "lamp/execution/plan_costs.h"
#include "lamp/execution/shape_fit.h"
#include "lamp/execution/slab_shares.h"
#include "lamp/nets/blocks.h"
#include "lamp/nets/guarded_conv.h"
#include "lamp/nets/halo_conv.h"
#include "lamp/pipeline/volume_cut.h"
#include "lamp/profile/shape_costs.h"

namespace lamp {
namespace {

// What each slab sends to every other one, of a channel: two sums in double; one in float.
constexpr std::int64_t kNormSumBytes = 16, kSqueezeSumBytes = 4;
constexpr std::int64_t kLossSumBytes = 1024;  // of a sample: some sums of every class

// D, H, W as the chain takes them.
std::vector<std::int64_t> padded_volume(const PlanOptions& options, const Network& network) {
  const std::int64_t stride = network.stride_multiple;
  std::vector<std::int64_t> sizes = {1, options.net.in_channels, options.input[2], options.input[1],
                                     options.input[0]};
  for (std::size_t axis = 2; axis < 5; ++axis)
    sizes[axis] = (sizes[axis] + stride - 1) / stride * stride;
  return sizes;
}

SlabCut wanted_cut(const PlanOptions& options, const Network& network) {
  return cut_volume(*network.chain, padded_volume(options, network),
                    static_cast<int>(grid_of(options).slabs), slab_shares(options, network));
}

}  // namespace

bool is_one_device(const PlanOptions& options) {
  if (options.absent_devices) return *options.absent_devices == 1;
  const auto devices = parse_devices(options.execution.device);
  return std::all_of(devices.begin(), devices.end(),
                     [&](c10::Device device) { return device == devices.front(); });
}

namespace {

// Slabs of a stage on one device.
std::int64_t slabs_together(const PlanOptions& options) {
  return is_one_device(options) ? grid_of(options).slabs : 1;
}

// The convolutions of a link; all of them read what the link is handed.
std::vector<PlaneRule> convolution_rules(const Layer& layer, std::int64_t axis) {
  std::vector<PlaneRule> rules;
  for (const auto& module : layer.modules()) {
    std::optional<PlaneRule> rule;
    if (const auto* conv = module->as<GuardedConv3dImpl>())
      rule = conv->plane_rule(axis);
    else if (const auto* up = module->as<GuardedConvTranspose3dImpl>())
      rule = up->plane_rule(axis);
    if (rule) rules.push_back(*rule);
  }
  return rules;
}

// Planes that slabs need and others own.
struct HaloPlanes {
  std::int64_t all = 0;   // of all slabs
  std::int64_t most = 0;  // received or sent by one of them
  bool joined = false;    // with a slab's own planes, in one tensor
};

HaloPlanes halo_planes(const SlabCut& cut, const PlaneRule& rule, std::int64_t planes) {
  const auto owned = cut.owned(planes), made = cut.owned(rule.output_planes(planes));
  bool joined = false;
  std::vector<std::int64_t> received(owned.size(), 0), sent(owned.size(), 0);
  for (std::size_t slab = 0; slab < owned.size(); ++slab) {
    const PlaneRange read = rule.needed(made[slab], planes), needed = common(read, {0, planes});
    joined = joined || joins_halo(rule, owned[slab], read, made[slab].count());
    for (std::size_t other = 0; other < owned.size(); ++other) {
      const std::int64_t count = other == slab ? 0 : common(needed, owned[other]).count();
      received[slab] += count;
      sent[other] += count;
    }
  }
  return {.all = std::accumulate(received.begin(), received.end(), std::int64_t{0}),
          .most = std::max(*std::max_element(received.begin(), received.end()),
                           *std::max_element(sent.begin(), sent.end())),
          .joined = joined};
}

// What an exchange takes between devices. Each receives from all others over one link, and sends
// over it at the same time. Workers of one device hand each other tensors for nothing, as stages
// do.
class ExchangeTime {
 public:
  explicit ExchangeTime(const PlanOptions& options)
      : others_(static_cast<double>(grid_of(options).slabs - 1)) {
    if (is_one_device(options)) return;
    latency_s_ = kExchangeLatencyS;
    s_per_byte_ = 1 / link_bytes_per_s(options);
  }

  double of_planes(std::int64_t bytes) const {
    return latency_s_ + s_per_byte_ * static_cast<double>(bytes);
  }
  // Each slab sends so many bytes to every other one.
  double of_sum(std::int64_t bytes) const {
    return latency_s_ + s_per_byte_ * others_ * static_cast<double>(bytes);
  }

 private:
  double others_;
  double latency_s_ = 0;
  double s_per_byte_ = 0;
};

// Of one pass through the link, forward or backward: what its norms and squeezes add up.
double sums_s(const Layer& layer, const ExchangeTime& time, std::int64_t samples) {
  double seconds = 0;
  for (const auto& module : layer.modules()) {
    if (const auto* norm = module->as<torch::nn::BatchNorm3dImpl>())
      seconds += time.of_sum(kNormSumBytes * norm->options.num_features());
    else if (const auto* squeeze = module->as<SqueezeExcitationImpl>())
      seconds += time.of_sum(kSqueezeSumBytes * samples * squeeze->parameters().front().size(1));
  }
  return seconds;
}

// always_joined: kernels of a reduced precision read own planes and halo in one tensor.
void add_halos(NetworkCosts& costs, const SlabCut& cut, const Sequence& chain,
               const ExchangeTime& time, bool always_joined) {
  const auto planes = planes_by_link(chain, cut.axis, cut.boundaries.back());
  std::int64_t input = costs.input_bytes;
  bool wants_gradient = false;  // the image wants none
  for (std::size_t link = 0; link < costs.layers.size(); ++link) {
    LayerCosts& layer = costs.layers[link];
    layer.halo_bytes = 0;
    layer.returns_halo = wants_gradient;
    bool joined = false;
    layer.forward_exchange_s = layer.backward_exchange_s =
        sums_s(*chain.layers()[link], time, costs.samples);
    for (const PlaneRule& rule : convolution_rules(*chain.layers()[link], cut.axis)) {
      const HaloPlanes halo = halo_planes(cut, rule, planes[link]);
      const std::int64_t plane_bytes = input / planes[link];
      const double seconds = time.of_planes(halo.most * plane_bytes);
      layer.halo_bytes += halo.all * plane_bytes;
      joined = joined || halo.joined || always_joined;
      layer.forward_exchange_s += seconds;
      if (wants_gradient) layer.backward_exchange_s += seconds;
    }
    layer.saved_bytes += layer.halo_bytes;
    if (joined && layer.halo_bytes > 0) {
      layer.forward_workspace_bytes += input + layer.halo_bytes;
      layer.backward_workspace_bytes += input + layer.halo_bytes;
      layer.input_half_workspace_bytes += input + layer.halo_bytes;
    }
    // What stashes and has parameters (a shortcut) hands its input on as it is.
    wants_gradient = wants_gradient || (!chain.layers()[link]->parameters().empty() &&
                                        chain.layers()[link]->stashes().empty());
    input = layer.output_bytes;
  }
  costs.loss_exchange_s = time.of_sum(kLossSumBytes * costs.samples);
}

// Of a level's planes, the part of the slab that has most of them.
double largest_part(const SlabCut& cut, std::int64_t planes) {
  std::int64_t most = 0;
  for (const PlaneRange& range : cut.owned(planes)) most = std::max(most, range.count());
  return static_cast<double>(most) / static_cast<double>(planes);
}

// Of a level's planes the part of each slab in the time that the first device has for it; the
// longest.
double longest_part(const SlabCut& cut, std::int64_t planes, const std::vector<double>& speeds) {
  if (speeds.empty()) return largest_part(cut, planes);
  const auto owned = cut.owned(planes);
  double longest = 0;
  for (std::size_t slab = 0; slab < owned.size(); ++slab)
    longest = std::max(longest, static_cast<double>(owned[slab].count()) / speeds[slab]);
  return longest / static_cast<double>(planes);
}

// Of the memory of a smaller slab's device, what the slab with most planes may take: part of it is
// there whatever the planes.
std::int64_t memory_for_largest(std::int64_t bytes, double part, std::int64_t fixed_bytes) {
  if (part == 1) return bytes;
  const double fixed = (1 - part) * static_cast<double>(fixed_bytes);
  const double most = (static_cast<double>(bytes) - fixed) / part;
  constexpr auto kNoLimit = std::numeric_limits<std::int64_t>::max();
  return most < static_cast<double>(kNoLimit) ? static_cast<std::int64_t>(most) : kNoLimit;
}

// "slab 1", "slab 0 of replica 1".
std::string lane_name(std::size_t lane, const DeviceGrid& grid) {
  const auto slabs = static_cast<std::size_t>(grid.slabs);
  const std::string replica = "replica " + std::to_string(lane / slabs);
  if (grid.slabs == 1) return replica;
  return "slab " + std::to_string(lane % slabs) + (grid.replicas > 1 ? " of " + replica : "");
}

// Every slab where the device is one; else each slab of each replica on devices of its own in all
// stages.
void check_lanes(const std::vector<PlanDevice>& workers, const DeviceGrid& grid) {
  const auto lanes = static_cast<std::size_t>(grid.replicas * grid.slabs);
  const bool same = std::all_of(workers.begin(), workers.end(), [&](const PlanDevice& worker) {
    return worker.name == workers.front().name;
  });
  for (std::size_t i = 0; i < workers.size() && !same; ++i)
    for (std::size_t k = 0; k < i; ++k)
      if (workers[i].name == workers[k].name && i % lanes != k % lanes)
        throw UsageError(
            setting_name("execution.split") + ": found device " + workers[i].name + " for " +
            lane_name(k % lanes, grid) + " and " + lane_name(i % lanes, grid) +
            ", expected devices of its own for each, or one device for all; give "
            "another order (replica by replica, there stage by stage, and in each slab "
            "by slab)");
}

}  // namespace

DeviceGrid grid_of(const PlanOptions& options) {
  const auto devices =
      options.absent_devices
          ? *options.absent_devices
          : static_cast<std::int64_t>(parse_devices(options.execution.device).size());
  DeviceGrid grid = grid_of(options.execution, devices);
  if (grid.replicas <= options.largest_batch)
    grid.replicas = std::min(grid.replicas, std::max<std::int64_t>(options.batch, 1));
  return grid;
}

void check_slabs(const PlanOptions& options) {
  if (options.execution.split) check_slabs(options, *shapes_of(options));
}

void check_slabs(const PlanOptions& options, const Network& network) {
  if (grid_of(options).slabs > 1) wanted_cut(options, network);
}

std::int64_t most_slabs(const PlanOptions& options, const Network& network, std::int64_t most) {
  PlanOptions cut = options;
  for (std::int64_t slabs = most; slabs > 1; --slabs) {
    cut.absent_devices = slabs;
    cut.execution.split = DeviceGrid{.slabs = slabs};
    if (has_planes_for_slabs(cut, network)) return slabs;
  }
  return 1;
}

bool has_planes_for_slabs(const PlanOptions& options, const Network& network) {
  if (!options.execution.split) return true;
  try {
    check_slabs(options, network);
    return true;
  } catch (const UsageError&) {
    return false;
  }
}

double slab_share_of_seconds(const PlanOptions& options) {
  if (!options.execution.split || grid_of(options).slabs == 1) {
    const auto speeds = device_speeds(options);
    return speeds.empty() ? 1 : 1 / *std::min_element(speeds.begin(), speeds.end());
  }
  return static_cast<double>(turns_on_device(options, slabs_together(options))) /
         static_cast<double>(grid_of(options).slabs);
}

std::int64_t turns_on_device(const PlanOptions& options, std::int64_t slabs) {
  const bool on_host =
      !options.absent_devices && parse_devices(options.execution.device).front().is_cpu();
  const std::int64_t at_once = on_host ? std::max(1, at::get_num_threads()) : 1;
  return (slabs + at_once - 1) / at_once;
}

std::vector<double> slab_shares_of_seconds(const PlanOptions& options, const Network& network) {
  const std::size_t links = network.chain->size();
  const double even = slab_share_of_seconds(options);
  std::vector<double> shares(links + 1, even);
  if (!options.execution.split || grid_of(options).slabs == 1) return shares;
  // Inputs that advice looks at may have too few planes: they are refused before they are run.
  if (!has_planes_for_slabs(options, network)) return shares;
  const SlabCut cut = wanted_cut(options, network);
  const auto planes = planes_by_link(*network.chain, cut.axis, cut.boundaries.back());
  const auto speeds = slab_speeds(options);
  const auto slabs = static_cast<double>(cut.slabs());
  for (std::size_t link = 0; link <= links; ++link)
    shares[link] *= slabs * longest_part(cut, planes[std::min(link + 1, links)], speeds);
  return shares;
}

void share_seconds(NetworkCosts& costs, const std::vector<double>& shares) {
  for (std::size_t link = 0; link < costs.layers.size(); ++link) {
    LayerCosts& layer = costs.layers[link];
    layer.forward_s = layer.forward_s * shares.at(link) + layer.forward_exchange_s;
    layer.backward_s = layer.backward_s * shares.at(link) + layer.backward_exchange_s;
    layer.weight_s *= shares.at(link);
  }
  costs.loss_s = costs.loss_s * shares.at(costs.layers.size()) + costs.loss_exchange_s;
}

std::vector<double> slab_parts(const PlanOptions& options, const Network& network) {
  if (!has_planes_for_slabs(options, network)) return {};
  if (slab_shares(options, network).empty()) return {};
  const SlabCut cut = wanted_cut(options, network);
  const std::int64_t planes = cut.boundaries.back();
  const double largest = largest_part(cut, planes) * static_cast<double>(planes);
  std::vector<double> parts;
  for (const PlaneRange& range : cut.owned(planes))
    parts.push_back(static_cast<double>(range.count()) / largest);
  return parts;
}

namespace {

// Of a layer's workspaces in the backward pass, one for each kind: copies of weights, which every
// slab has.
using Workspace = std::int64_t LayerCosts::*;
constexpr Workspace kWeightCopies[] = {&LayerCosts::backward_workspace_bytes,
                                       &LayerCosts::input_half_workspace_bytes,
                                       &LayerCosts::weight_half_workspace_bytes};

// By link, and there by kind.
std::vector<std::vector<std::int64_t>> weight_copies(const NetworkCosts& costs,
                                                     const Sequence& chain) {
  std::vector<std::vector<std::int64_t>> bytes(costs.layers.size());
  for (std::size_t link = 0; link < costs.layers.size(); ++link)
    for (const Workspace workspace : kWeightCopies)
      bytes[link].push_back(
          std::clamp<std::int64_t>(costs.layers[link].*workspace, 0,
                                   weight_copies_bytes(*chain.layers()[link], costs.samples)));
  return bytes;
}

}  // namespace

void cut_into_slabs(NetworkCosts& costs, const PlanOptions& options, const Network& network) {
  const std::int64_t slabs = options.execution.split ? grid_of(options).slabs : 1;
  if (slabs == 1) return scale_seconds(costs, slab_share_of_seconds(options));
  const bool is_apart = slabs_together(options) == 1;
  const auto copies = weight_copies(costs, *network.chain);
  double part = is_apart ? 1 / static_cast<double>(slabs) : 1;
  if (has_planes_for_slabs(options, network)) {
    const SlabCut cut = wanted_cut(options, network);
    add_halos(costs, cut, *network.chain, ExchangeTime(options),
              is_reduced(options.execution.precision));
    if (is_apart) part = largest_part(cut, cut.boundaries.back());
  }
  scale_planes(costs, part);
  const double missing = is_apart ? 1 - part : static_cast<double>(slabs - 1);
  for (std::size_t link = 0; link < copies.size(); ++link)
    for (std::size_t kind = 0; kind < std::size(kWeightCopies); ++kind)
      costs.layers[link].*kWeightCopies[kind] +=
          static_cast<std::int64_t>(missing * static_cast<double>(copies[link][kind]));
  share_seconds(costs, slab_shares_of_seconds(options, network));
}

void take_slabs(PlanRequest& request, const DeviceGrid& grid) {
  const std::vector<PlanDevice> given = std::exchange(request.devices, {});
  request.replicas = static_cast<std::size_t>(grid.replicas);
  for (std::int64_t stage = 0; stage < grid.stages; ++stage) {
    request.devices.push_back(given[grid.row(0, stage, 0)]);
    std::int64_t& least = request.devices.back().memory_bytes;
    least = std::numeric_limits<std::int64_t>::max();
    for (std::int64_t replica = 0; replica < grid.replicas; ++replica)
      for (std::int64_t slab = 0; slab < grid.slabs; ++slab) {
        request.workers.push_back(given[grid.row(replica, stage, slab)]);
        const double part =
            request.slab_parts.empty() ? 1 : request.slab_parts.at(static_cast<std::size_t>(slab));
        least = std::min(least, memory_for_largest(request.workers.back().memory_bytes, part,
                                                   request.slab_fixed_bytes));
      }
  }
  check_lanes(request.workers, grid);
}

}  // namespace lamp
