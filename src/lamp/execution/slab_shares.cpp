// Seconds to speeds, speeds to shares.
#include "lamp/execution/slab_shares.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "lamp/base/device.h"
#include "lamp/base/interrupt.h"
#include "lamp/base/log.h"
#include "lamp/base/stopwatch.h"
#include "lamp/execution/slab_costs.h"
#include "lamp/execution/step_profile.h"
#include "lamp/pipeline/volume_cut.h"

namespace lamp {
namespace {

constexpr std::int64_t kMostSpeedVoxels = 64;  // a side
constexpr int kSpeedRounds = 3;                // the first one is a warm-up

// Speeds are rounded to so many steps an octave: most measurements of the same devices then give
// the same shares, and so the same last bits.
constexpr double kSpeedSteps = 4;

// A slab that has this many of the coarsest level's planes keeps one when boundaries are rounded.
constexpr double kSafePlanes = 1.5;

// As fast as the first.
bool are_alike(const std::vector<double>& speeds) {
  return std::all_of(speeds.begin(), speeds.end(), [](double speed) { return speed == 1; });
}

bool may_have_slabs(const PlanOptions& options) {
  return options.execution.auto_split || (options.execution.split && grid_of(options).slabs > 1);
}

double small_step_s(const PlanOptions& options, c10::Device device) {
  PlanOptions small = options;
  for (std::int64_t& side : small.input) side = std::min(side, kMostSpeedVoxels);
  const Network network = network_on(small, device);
  StepProfile profile(small, network, 1, 1, at::get_num_threads());
  double least = 0;
  for (int round = 0; round < kSpeedRounds; ++round) {
    const Stopwatch watch;
    profile.alone([] { throw_if_interrupted("nothing was written"); });
    const double seconds = watch.seconds();
    if (round == 1 || seconds < least) least = seconds;
  }
  return least;
}

// At the network's coarsest level, along the axis that is cut.
std::int64_t coarsest_planes(const PlanOptions& options, const Network& network) {
  const std::int64_t stride = network.stride_multiple;
  const std::int64_t longest = *std::max_element(options.input.begin(), options.input.end());
  // Which axis is the longest makes no difference to a network of cubic kernels.
  const auto planes = planes_by_link(*network.chain, 2, (longest + stride - 1) / stride * stride);
  return *std::min_element(planes.begin(), planes.end());
}

}  // namespace

std::vector<double> speeds_of_seconds(const std::vector<double>& seconds) {
  if (seconds.empty() || *std::min_element(seconds.begin(), seconds.end()) <= 0) return {};
  std::vector<double> speeds;
  for (const double taken : seconds) {
    const double octaves = std::log2(seconds.front() / taken);
    speeds.push_back(std::exp2(std::round(kSpeedSteps * octaves) / kSpeedSteps));
  }
  return are_alike(speeds) ? std::vector<double>() : speeds;
}

std::vector<double> device_speeds(const PlanOptions& options) {
  const auto& flops = options.unequal_flops_per_s;
  if (flops.empty()) return options.device_speeds;
  std::vector<double> speeds;
  for (const double rate : flops) speeds.push_back(rate / flops.front());
  return are_alike(speeds) ? std::vector<double>() : speeds;
}

void measure_device_speeds(PlanOptions& options) {
  if (options.absent_devices || options.execution.costs != "measured") return;
  if (!may_have_slabs(options) || is_one_device(options)) return;
  const auto devices = parse_devices(options.execution.device);
  log_info("measuring how fast each device is");
  std::vector<double> seconds;
  for (std::size_t d = 0; d < devices.size(); ++d) {
    const auto known = std::find(devices.begin(), devices.end(), devices[d]) - devices.begin();
    seconds.push_back(static_cast<std::size_t>(known) < d ? seconds[static_cast<std::size_t>(known)]
                                                          : small_step_s(options, devices[d]));
  }
  options.device_speeds = speeds_of_seconds(seconds);
}

std::vector<double> slab_speeds(const PlanOptions& options) {
  const auto speeds = device_speeds(options);
  const DeviceGrid grid = grid_of(options);
  if (speeds.empty() || std::ssize(speeds) < grid.devices()) return {};
  std::vector<double> slowest(static_cast<std::size_t>(grid.slabs), speeds.front());
  for (std::int64_t slab = 0; slab < grid.slabs; ++slab) {
    double& least = slowest[static_cast<std::size_t>(slab)];
    least = speeds.at(grid.row(0, 0, slab));
    for (std::int64_t replica = 0; replica < grid.replicas; ++replica)
      for (std::int64_t stage = 0; stage < grid.stages; ++stage)
        least = std::min(least, speeds.at(grid.row(replica, stage, slab)));
  }
  return slowest;
}

std::vector<double> shares_of_speeds(const std::vector<double>& speeds, std::int64_t planes) {
  const double all = std::accumulate(speeds.begin(), speeds.end(), 0.0);
  const double even = 1 / static_cast<double>(speeds.size());
  const double least = *std::min_element(speeds.begin(), speeds.end()) / all;
  if (even - least < 1e-9) return {};
  const double needed = kSafePlanes / static_cast<double>(planes);
  if (needed >= even) return {};
  // So much of the way from the speeds' shares to even ones.
  const double way = needed > least ? (needed - least) / (even - least) : 0;
  std::vector<double> shares;
  for (const double speed : speeds) shares.push_back(speed / all + way * (even - speed / all));
  return shares;
}

std::vector<double> slab_shares(const PlanOptions& options, const Network& network) {
  const auto speeds = slab_speeds(options);
  if (speeds.size() < 2) return {};
  const std::int64_t planes = coarsest_planes(options, network);
  return shares_of_speeds(speeds, std::min(planes, options.most_slabs.value_or(planes)));
}

}  // namespace lamp
