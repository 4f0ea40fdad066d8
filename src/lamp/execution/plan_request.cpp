// From options to a request, from a plan to settings.
#include "lamp/execution/plan_request.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <chrono>
#include <iterator>
#include <limits>
#include <utility>

#include "lamp/base/device.h"
#include "lamp/base/errors.h"
#include "lamp/base/interrupt.h"
#include "lamp/base/log.h"
#include "lamp/base/setting_name.h"
#include "lamp/base/text.h"
#include "lamp/execution/grid_choice.h"
#include "lamp/execution/grid_words.h"
#include "lamp/execution/plan_costs.h"
#include "lamp/execution/slab_costs.h"
#include "lamp/execution/slab_shares.h"
#include "lamp/inference/memory_estimate.h"
#include "lamp/nets/net_factory.h"
#include "lamp/planner/microbatch_choice.h"
#include "lamp/planner/plan_candidates.h"

namespace lamp {
namespace {

constexpr double kMostSearchSeconds = 10;  // then only the most promising; twice that: the end
constexpr double kUsualBytesPerS = 25e9;   // PCIe 4.0 x16 less its overhead
constexpr std::int64_t kMostDevices = 1024;

// Stages by their names; for those that are not here "0", "1", ...
std::vector<PlanDevice> devices_of(const PlanOptions& options) {
  std::vector<PlanDevice> devices;
  const auto memory_of_next = [&] {
    return options.unequal_memory_bytes.empty() ? options.device_memory_bytes
                                                : options.unequal_memory_bytes.at(devices.size());
  };
  for (std::int64_t d = 0; d < options.absent_devices.value_or(0); ++d)
    devices.push_back({std::to_string(d), memory_of_next().value()});
  if (options.absent_devices) return devices;
  for (const c10::Device device : parse_devices(options.execution.device)) {
    const auto memory = memory_of_next();
    devices.push_back({device.str(), memory ? *memory : device_memory(options.execution, device)});
  }
  return devices;
}

std::int64_t replicas_of(const PlanOptions& options) {
  return options.execution.split ? grid_of(options).replicas : 1;
}

// Of each replica, those with a sample less included.
std::int64_t most_of_replica(const PlanOptions& options, std::int64_t stride) {
  return most_microbatches(options.batch / replicas_of(options), options.input, stride);
}

// As the user asks, as far as batch norm bears it; the planner knows samples and the loss.
int given_microbatches(const PlanOptions& options, std::int64_t stride) {
  const std::int64_t wanted = options.execution.microbatches;
  const std::int64_t replicas = replicas_of(options), most = most_of_replica(options, stride);
  if (most == options.batch / replicas || wanted <= most)
    return static_cast<int>(
        std::min<std::int64_t>(wanted, replicas > 1 ? most : std::numeric_limits<int>::max()));
  log_warning_once("execution.microbatches: " + std::to_string(wanted) +
                   " are too many for batches of " + std::to_string(options.batch) +
                   " and batch norm: using " + std::to_string(most));
  return static_cast<int>(most);
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
    if (!has_planes_for_slabs(smaller, *shapes)) return alternatives;
    alternatives.push_back({setting_to("input", size_text(smaller.input)),
                            shape_costs_of(smaller, shapes),
                            options.absent_devices ? 1 : kShareWithoutWorkspaces});
  }
}

// Stages of one device share its memory, so that it has one size.
void check_unequal_memory(const PlanOptions& options) {
  const auto& bytes = options.unequal_memory_bytes;
  if (bytes.empty()) return;
  std::vector<std::string> names;
  if (!options.absent_devices) names = device_names(parse_devices(options.execution.device));
  const auto count = options.absent_devices.value_or(std::ssize(names));
  if (std::ssize(bytes) != count)
    throw UsageError(setting_name("device_memory") + ": found " +
                     counted(std::ssize(bytes), "size") + " for " + counted(count, "device") +
                     "; give one for all of them, or one for each");
  for (std::size_t d = 0; d < names.size(); ++d) {
    const auto first =
        static_cast<std::size_t>(std::find(names.begin(), names.end(), names[d]) - names.begin());
    if (bytes[d] != bytes[first])
      throw UsageError(setting_name("device_memory") + ": found " + bytes_text(bytes[first]) +
                       " and " + bytes_text(bytes[d]) + " for " + names[d] +
                       ", whose stages share one memory; give the same size for each of them");
  }
}

void check_unequal_flops(const PlanOptions& options) {
  const auto& flops = options.unequal_flops_per_s;
  if (!flops.empty() && std::ssize(flops) != options.absent_devices.value())
    throw UsageError(setting_name("flops") + ": found " + counted(std::ssize(flops), "rate") +
                     " for " + counted(*options.absent_devices, "device") +
                     "; give one for all of them, or one for each");
}

}  // namespace

double link_bytes_per_s(const PlanOptions& options) {
  const bool on_host =
      !options.absent_devices && parse_devices(options.execution.device).front().is_cpu();
  const double usual = on_host ? std::numeric_limits<double>::infinity() : kUsualBytesPerS;
  return options.bytes_per_s.value_or(usual);
}

void check_plan_options(const PlanOptions& options) {
  for (const std::int64_t side : options.input)
    if (side < 1)
      throw UsageError(setting_name("input") + ": found " + size_text(options.input) +
                       ", expected 1 voxel or more a side");
  if (options.batch < 1)
    throw UsageError(setting_name("batch") + ": found " + std::to_string(options.batch) +
                     ", expected 1 or more");
  if (!options.absent_devices) {
    check_unequal_memory(options);
    if (options.flops_per_s || !options.unequal_flops_per_s.empty())
      throw UsageError(
          setting_name("flops") + " describes devices that are not here: give their number too, " +
          setting_to("absent_devices", "N") + ", or leave it out to have this machine measured");
    return;
  }
  const std::int64_t count = *options.absent_devices;
  if (count < 1 || count > kMostDevices)
    throw UsageError(setting_name("absent_devices") + ": found " + std::to_string(count) +
                     ", expected 1 to " + std::to_string(kMostDevices));
  if (!options.device_memory_bytes && options.unequal_memory_bytes.empty())
    throw UsageError(setting_to("absent_devices", std::to_string(count)) +
                     ": these devices are not here, so say how large they are: " +
                     setting_to("device_memory", "16GiB"));
  check_unequal_memory(options);
  check_unequal_flops(options);
  const std::string& precision = options.execution.precision;
  if (precision == "bf16" || precision == "fp16")
    throw UsageError(setting_to("execution.precision", precision) + ": " +
                     setting_to("absent_devices", std::to_string(count)) +
                     " describes devices that are not here, whose costs are worked out in fp32; "
                     "use " +
                     setting_to("execution.precision", "fp32") + ", which holds more than " +
                     precision);
}

namespace {

// Each replica has a sample, and no loss needs those of all.
void check_replicas(const PlanOptions& options, const DeviceGrid& grid) {
  if (grid.replicas == 1) return;
  const std::string found =
      setting_name("execution.split") + ": found replicas=" + std::to_string(grid.replicas);
  const std::int64_t most = std::max(options.batch, options.largest_batch);
  if (grid.replicas > most)
    throw UsageError(found + " for a batch of " + counted(most, "sample") +
                     ", expected replicas=" + std::to_string(most) + " or fewer, or a batch of " +
                     std::to_string(grid.replicas) + " or more");
  if (!options.loss_is_sum)
    throw UsageError(found +
                     ", but the loss (loss.dice \"batch\") needs the whole batch; expected " +
                     "replicas=1, or dice \"per_sample\"");
}

// Parameters, gradients, the optimizer's state and what its step makes beside them.
std::int64_t fixed_bytes_of(const PlanOptions& options, const Network& network) {
  double bytes = 0;
  for (const torch::Tensor& parameter : network.chain->parameters())
    bytes += static_cast<double>(parameter.nbytes());
  return static_cast<std::int64_t>((3 + optimizer_state_factor(options.optimizer)) * bytes);
}

// All devices, shared out as the user says.
void keep_split(PlanRequest& request, const PlanOptions& options, const Network& network) {
  const DeviceGrid grid = grid_of(options);
  const ExecutionConfig& execution = options.execution;
  if (execution.partition == "counts" && std::ssize(execution.partition_counts) != grid.stages)
    throw UsageError(setting_name("execution.partition") + ": found " +
                     counted(std::ssize(execution.partition_counts), "stage") + ", but " +
                     setting_to("execution.split", to_string(grid)));
  request.all_devices = true;
  request.any_devices = false;
  check_replicas(options, *execution.split);
  request.devices.resize(static_cast<std::size_t>(grid.devices()));
  if (grid.slabs > 1) request.slab_parts = slab_parts(options, network);
  request.slab_fixed_bytes = fixed_bytes_of(options, network);
  if (grid.replicas * grid.slabs > 1) take_slabs(request, grid);
  request.batch = (request.batch + grid.replicas - 1) / grid.replicas;
}

}  // namespace

PlanRequest request_of(const PlanOptions& options, const std::shared_ptr<Network>& shapes) {
  const Network& network = *shapes;
  const ExecutionConfig& execution = options.execution;
  PlanRequest request{
      .devices = devices_of(options), .threads = at::get_num_threads(), .batch = options.batch};
  request.all_devices = !options.absent_devices && execution.device != "auto";
  request.any_devices = options.absent_devices.has_value();
  if (execution.split) keep_split(request, options, network);
  if (!request.all_devices && request.devices.size() > network.chain->size())  // a layer a stage
    request.devices = roomiest_devices(request.devices, network.chain->size());
  const bool on_host = request.devices.front().name == "cpu";
  // The first device has the others' planes and samples of the input as well.
  const PipelineSetup lanes{.devices = request.devices, .workers = request.workers};
  const double elsewhere =
      1 - static_cast<double>(lanes.slabs_on_device()) / static_cast<double>(lanes.slabs());
  request.bytes_per_s = link_bytes_per_s(options);
  request.optimizer_factor = optimizer_state_factor(options.optimizer);
  // Of a sample of each replica.
  const std::int64_t voxels = options.input.voxels() * replicas_of(options);
  // On the CPU the network takes a copy in another layout; elsewhere only a padded one.
  const bool is_padded = std::any_of(options.input.begin(), options.input.end(), [&](auto side) {
    return side % network.stride_multiple != 0;
  });
  if (on_host || is_padded) request.sample_bytes = 4 * options.net.in_channels * voxels;
  request.sample_bytes += static_cast<std::int64_t>(
      elsewhere * static_cast<double>(4 * options.net.in_channels * voxels));
  request.label_bytes = voxels;
  request.loss_is_sum = options.loss_is_sum;
  if (execution.schedule != "auto") request.schedule = parse_schedule_kind(execution.schedule);
  if (execution.microbatches > 0) {
    request.microbatches = given_microbatches(options, network.stride_multiple);
  } else if (!options.absent_devices && request.devices.size() == 1) {
    request.microbatches = 1;  // batch norm sees the batch as it is, unless the user splits it
    request.microbatches_are_steady = true;
  }
  if (execution.recompute == "stages") {
    if (execution.partition != "counts" ||
        execution.recompute_stages.size() != execution.partition_counts.size())
      throw UsageError(
          "execution.recompute: a rule for each stage needs a cut into as many stages: set "
          "execution.partition to the numbers of layers, or recompute to one rule or auto");
    request.recompute_stages = execution.recompute_stages;
  } else if (execution.recompute != "auto") {
    request.recompute = parse_recompute_rule(execution.recompute);
  }
  request.can_add_devices = (!on_host || options.absent_devices) && !execution.split;
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

// One stage runs as it does, whatever it takes; so does a step of which all is given.
bool hangs_on_seconds(const PlanRequest& request) {
  if (request.devices.size() == 1) return false;
  const bool rules = request.recompute || !request.recompute_stages.empty();
  return !(request.partition && request.schedule && rules);
}

Plan plan_of_request(const PlanOptions& options, PlanRequest& request, const CostProvider& costs,
                     const CostProvider& by_shapes) {
  if (options.absent_devices || request.microbatches) return make_plan(request, costs);
  const std::int64_t most = most_of_replica(options, stride_multiple(options.net));
  request.microbatches =
      static_cast<int>(std::min<std::int64_t>(steady_microbatches(request, by_shapes), most));
  request.microbatches_are_steady = true;
  Plan plan = make_plan(request, costs);
  if (plan.fits) return plan;
  request.microbatches.reset();  // more of them may fit
  request.microbatches_are_steady = false;
  return make_plan(request, costs);
}

}  // namespace

namespace {

// What all ways to share the devices out are planned with.
struct CommonCosts {
  bool measured;
  CostProvider whole;         // of whole volumes
  CostProvider whole_shapes;  // the same by shapes
  double update_s_per_byte;
  std::shared_ptr<SearchClock> clock;
};

Plan plan_with(const PlanOptions& options, const std::shared_ptr<Network>& shapes,
               PlanRequest request, const CommonCosts& common) {
  if (request.devices.size() > 1) request.clock = common.clock;  // else nothing is searched for
  request.update_s_per_byte = common.update_s_per_byte;
  request.seconds_are_measured = common.measured || options.absent_devices;
  Plan plan = plan_of_request(options, request, cut_costs(options, shapes, common.whole),
                              cut_costs(options, shapes, common.whole_shapes));
  if (plan.fits) add_grid_reasons(plan, options, *shapes);
  return plan;
}

}  // namespace

Plan plan_network(const PlanOptions& options, Seconds seconds) {
  const auto shapes = shapes_of(options);
  check_plan_options(options);
  const PlanRequest request = request_of(options, shapes);
  const auto grids = lane_grids(options, *shapes);
  const bool measured =
      !options.absent_devices && options.execution.costs == "measured" &&
      (seconds == Seconds::kMeasured || !grids.empty() || hangs_on_seconds(request));
  const CostProvider whole_shapes = whole_shape_costs_of(options, shapes);
  const CommonCosts common{.measured = measured,
                           .whole = measured ? whole_measured_costs_of(options) : whole_shapes,
                           .whole_shapes = whole_shapes,
                           .update_s_per_byte = update_s_per_byte(options, measured),
                           .clock = search_clock()};
  Plan stages = plan_with(options, shapes, request, common);
  std::vector<Plan> others;
  for (const DeviceGrid& grid : grids) {
    if (common.clock->is_too_late()) break;
    const PlanOptions as_asked = with_grid(options, grid);
    others.push_back(plan_with(as_asked, shapes, request_of(as_asked, shapes), common));
  }
  return weighed(std::move(stages), std::move(others), options.batch);
}

std::vector<std::string> device_order(const Plan& plan) {
  const std::vector<std::string> workers = plan.setup.worker_names();
  const std::size_t all = plan.setup.slabs(), slabs = plan.setup.slabs_of_replica();
  std::vector<std::string> names;
  for (std::size_t replica = 0; replica < plan.setup.replicas; ++replica)
    for (std::size_t stage = 0; stage < plan.setup.stages(); ++stage)
      for (std::size_t slab = 0; slab < slabs; ++slab)
        names.push_back(workers[stage * all + replica * slabs + slab]);
  return names;
}

namespace {

// Those that have no sample of this batch, on the devices that the plan does without.
void add_idle_replicas(ResolvedExecution& execution, const PlanOptions& options) {
  if (!options.execution.split) return;
  execution.replicas = options.execution.split->replicas;
  const auto devices = devices_of(options);
  for (std::size_t d = execution.devices.size(); d < devices.size(); ++d)
    execution.devices.push_back(devices[d].name);
}

}  // namespace

ResolvedExecution resolved(const PlanOptions& options, const Plan& plan) {
  ResolvedExecution result{.net = options.net,
                           .input = options.input,
                           .batch = options.batch,
                           .partition = plan.balance.partition,
                           .precision = options.execution.precision,
                           .layout = options.execution.layout,
                           .schedule = plan.setup.schedule,
                           .microbatches = plan.setup.microbatches,
                           .recompute = plan.balance.recompute,
                           .deferred_batch_norm = options.execution.deferred_batch_norm,
                           .threads = at::get_num_threads(),
                           .reasons = plan.reasons};
  result.replicas = static_cast<std::int64_t>(plan.setup.replicas);
  result.slabs = static_cast<std::int64_t>(plan.setup.slabs_of_replica());
  if (result.slabs > 1) result.slab_shares = slab_shares(options, *shapes_of(options));
  result.devices = device_order(plan);
  add_idle_replicas(result, options);
  return result;
}

}  // namespace lamp
