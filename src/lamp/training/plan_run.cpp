// From options to a request, from a plan to settings.
#include "lamp/training/plan_run.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <chrono>
#include <limits>

#include "lamp/base/device.h"
#include "lamp/base/errors.h"
#include "lamp/base/interrupt.h"
#include "lamp/base/log.h"
#include "lamp/base/text.h"
#include "lamp/inference/memory_estimate.h"
#include "lamp/nets/net_factory.h"
#include "lamp/training/optimizer.h"
#include "lamp/training/plan_costs.h"

namespace lamp {
namespace {

constexpr double kMostSearchSeconds = 10;  // then only the most promising; twice that: the end
constexpr double kAbsentBytesPerS = 25e9;  // PCIe 4.0 x16 less its overhead
constexpr std::int64_t kMostDevices = 1024;

// Stages by their names; for those that are not here "0", "1", ...
std::vector<PlanDevice> devices_of(const PlanOptions& options) {
  std::vector<PlanDevice> devices;
  for (std::int64_t d = 0; d < options.absent_devices.value_or(0); ++d)
    devices.push_back({std::to_string(d), *options.device_memory_bytes});
  if (options.absent_devices) return devices;
  for (const c10::Device device : parse_devices(options.execution.device))
    devices.push_back(
        {device.str(),
         options.device_memory_bytes ? *options.device_memory_bytes : available_bytes(device),
         device.is_cpu() ? at::get_num_threads() : 1});
  return devices;
}

// Inputs that would need less, the largest first.
std::vector<Alternative> smaller_inputs(const PlanOptions& options,
                                        const std::shared_ptr<Network>& shapes) {
  const std::int64_t stride = shapes->stride_multiple;
  std::vector<Alternative> alternatives;
  PlanOptions smaller = options;
  while (true) {
    const auto longest = std::max_element(smaller.input.begin(), smaller.input.end());
    const std::int64_t step = std::max(stride, *longest / 8 / stride * stride);
    if (*longest <= step || *longest - step < stride) return alternatives;
    *longest = (*longest - step + stride - 1) / stride * stride;
    alternatives.push_back({"--input " + size_text(smaller.input), shape_costs_of(smaller, shapes),
                            options.absent_devices ? 1 : kShareWithoutWorkspaces});
  }
}

}  // namespace

void check_plan_options(const PlanOptions& options, std::int64_t stride) {
  for (const std::int64_t side : options.input)
    if (side < stride)
      throw UsageError("--input: found " + size_text(options.input) + ", but " + options.net.name +
                       " of depth " + std::to_string(options.net.depth) + " halves its input to " +
                       std::to_string(stride) +
                       " voxels a side or more; use a larger input or a "
                       "smaller --depth");
  if (options.batch < 1)
    throw UsageError("--batch: found " + std::to_string(options.batch) + ", expected 1 or more");
  if (!options.absent_devices) {
    if (options.flops_per_s)
      throw UsageError(
          "--flops describes devices that are not here: give their number too, "
          "--devices N, or leave it out to have this machine measured");
    return;
  }
  const std::int64_t count = *options.absent_devices;
  if (count < 1 || count > kMostDevices)
    throw UsageError("--devices: found " + std::to_string(count) + ", expected 1 to " +
                     std::to_string(kMostDevices));
  if (!options.device_memory_bytes)
    throw UsageError("--devices " + std::to_string(count) +
                     ": these devices are not here, so say how large they are: "
                     "--device-memory 16GiB");
  const std::string& precision = options.execution.precision;
  if (precision == "bf16" || precision == "fp16")
    throw UsageError("--precision " + precision + ": --devices " + std::to_string(count) +
                     " describes devices that are not here, whose costs are worked out in fp32; "
                     "use --precision fp32, which holds more than " +
                     precision);
}

PlanRequest request_of(const PlanOptions& options, const std::shared_ptr<Network>& shapes) {
  const Network& network = *shapes;
  const ExecutionConfig& execution = options.execution;
  PlanRequest request{.devices = devices_of(options), .batch = options.batch};
  request.all_devices = !options.absent_devices && execution.device != "auto";
  if (!request.all_devices && request.devices.size() > network.chain->size())
    request.devices.resize(network.chain->size());  // a stage has a layer at least
  const bool on_host = request.devices.front().name == "cpu";
  if (!on_host || options.bytes_per_s)
    request.bytes_per_s = options.bytes_per_s.value_or(kAbsentBytesPerS);
  request.optimizer_factor = optimizer_state_factor(options.optimizer);
  const std::int64_t voxels = options.input[0] * options.input[1] * options.input[2];
  // On the CPU the network takes a copy in another layout; elsewhere only a padded one.
  const bool is_padded = std::any_of(options.input.begin(), options.input.end(), [&](auto side) {
    return side % network.stride_multiple != 0;
  });
  if (on_host || is_padded) request.sample_bytes = 4 * options.net.in_channels * voxels;
  request.label_bytes = voxels;
  request.loss_is_sum = options.loss_is_sum;
  if (execution.schedule != "auto") request.schedule = parse_schedule_kind(execution.schedule);
  if (execution.microbatches > 0)
    request.microbatches = static_cast<int>(
        std::min<std::int64_t>(execution.microbatches, std::numeric_limits<int>::max()));
  if (execution.recompute == "stages")
    throw UsageError("plan: --recompute takes auto or one rule for all stages");
  if (execution.recompute != "auto") request.recompute = parse_recompute_rule(execution.recompute);
  request.can_add_devices = !on_host || options.absent_devices;
  if (execution.partition == "counts")
    request.partition = partition_by_counts(execution.partition_counts, network.chain->size());
  request.cut_by = cut_weight(execution.partition);
  request.alternatives = smaller_inputs(options, shapes);
  return request;
}

namespace {

// Hears signals, and says what takes so long.
std::shared_ptr<SearchClock> search_clock() {
  const auto start = std::chrono::steady_clock::now();
  return std::make_shared<SearchClock>(kMostSearchSeconds, [start, said = false]() mutable {
    throw_if_interrupted("nothing was written");
    if (said || std::chrono::steady_clock::now() - start < std::chrono::seconds(3)) return;
    said = true;
    log_info("comparing ways to cut the network, for some seconds");
  });
}

}  // namespace

Plan plan_network(const PlanOptions& options) {
  const auto shapes = shapes_of(options);
  check_plan_options(options, shapes->stride_multiple);
  PlanRequest request = request_of(options, shapes);
  request.update_s_per_byte = update_s_per_byte(options);
  request.clock = search_clock();
  return make_plan(request, options.absent_devices ? shape_costs_of(options, shapes)
                                                   : measured_costs_of(options));
}

ExecutionConfig resolved(ExecutionConfig execution, const Plan& plan) {
  execution.partition = "counts";
  execution.partition_counts.clear();
  for (const StageRange& range : plan.balance.partition)
    execution.partition_counts.push_back(static_cast<std::int64_t>(range.last - range.first));
  execution.microbatches = plan.setup.microbatches;
  execution.schedule = to_string(plan.setup.schedule);
  execution.recompute = "stages";
  execution.recompute_stages = plan.balance.recompute;
  execution.device.clear();
  for (const PlanDevice& device : plan.setup.devices)
    execution.device += (execution.device.empty() ? "" : ",") + device.name;
  return execution;
}

MeasuredStep measure_plan(const PlanOptions& options, const Plan& plan, int rounds) {
  if (options.absent_devices)
    throw UsageError("--measure: these devices are not here; leave it out, or plan for --device");
  return measure_step({.net = options.net,
                       .input = options.input,
                       .batch = options.batch,
                       .optimizer = options.optimizer,
                       .execution = resolved(options.execution, plan),
                       .rounds = rounds,
                       .seed = options.seed});
}

}  // namespace lamp
