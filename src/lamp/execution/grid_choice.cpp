// Divisors of the number of devices, and a comparison of whole plans.
#include "lamp/execution/grid_choice.h"

#include <algorithm>
#include <string>
#include <utility>

#include "lamp/base/device.h"
#include "lamp/base/errors.h"
#include "lamp/base/text.h"
#include "lamp/execution/slab_costs.h"
#include "lamp/planner/plan_candidates.h"

namespace lamp {
namespace {

std::vector<std::string> names_of_devices(const PlanOptions& options) {
  if (!options.absent_devices) return device_names(parse_devices(options.execution.device));
  std::vector<std::string> names;
  for (std::int64_t d = 0; d < *options.absent_devices; ++d) names.push_back(std::to_string(d));
  return names;
}

std::int64_t most_replicas(const PlanOptions& options, std::int64_t devices) {
  if (!options.loss_is_sum || !options.may_add_replicas) return 1;
  return std::clamp<std::int64_t>(options.batch / kLeastChosenSamples, 1, devices);
}

// Of the grids that leave devices out, those of one stage, and those of as many stages as these
// devices of a replica allow for so many slabs; with replicas beside slabs the latter alone.
bool is_of_use(const DeviceGrid& grid, std::int64_t devices) {
  const bool is_largest = grid.stages == devices / grid.slabs;
  if (grid.replicas == 1) return grid.stages == 1 || is_largest;
  return is_largest || (grid.stages == 1 && grid.slabs == 1);
}

// Of devices in this order: whether each slab has devices of its own, and every level its planes.
bool is_possible(const PlanOptions& options, const DeviceGrid& grid,
                 const std::vector<std::string>& names, const Network& network) {
  PlanRequest request;
  for (std::int64_t d = 0; d < grid.devices(); ++d)
    request.devices.push_back({names[static_cast<std::size_t>(d)]});
  try {
    check_slabs(with_grid(options, grid), network);
    take_slabs(request, grid);
    return true;
  } catch (const UsageError&) {
    return false;
  }
}

// "stages=2", "replicas=2,slabs=4": what is not 1.
std::string name_of(const Plan& plan) {
  const std::pair<const char*, std::size_t> numbers[] = {{"replicas=", plan.setup.replicas},
                                                         {"stages=", plan.setup.stages()},
                                                         {"slabs=", plan.setup.slabs_of_replica()}};
  std::vector<std::string> parts;
  for (const auto& [name, number] : numbers)
    if (number > 1) parts.push_back(name + std::to_string(number));
  return parts.empty() ? "stages=1" : joined(parts, ",");
}

std::string times_as_long(const Plan& other, const Plan& chosen) {
  return fixed(other.step_s() / chosen.step_s(), 2) + " times as long";
}

std::string why_not(const Plan& other, const Plan& chosen) {
  return name_of(other) + " would " +
         (other.fits ? "take " + times_as_long(other, chosen) : std::string("not fit"));
}

// rival: the best that shares the devices out otherwise, with replicas or without; may be null.
std::string why_lanes(const Plan& lanes, const Plan& stages, const Plan* rival,
                      std::int64_t batch) {
  std::string text = name_of(lanes) + ": ";
  if (!stages.fits) return text + "stages alone would not fit";
  if (batch == 1) text += "one volume in a batch, ";
  if (lanes.setup.replicas > 1) text += counted(batch, "sample") + " in a batch, ";
  const std::string other =
      stages.setup.stages() == 1 ? "one device alone" : counted(stages.setup.stages(), "stage");
  text += other + " would take " + times_as_long(stages, lanes);
  return rival == nullptr ? text : text + ", " + why_not(*rival, lanes);
}

std::string why_stages(const Plan& stages, const Plan& lanes) {
  if (!lanes.fits)
    return name_of(stages) + ": slabs" + (lanes.setup.replicas > 1 ? " and replicas" : "") +
           " would not fit";
  return name_of(stages) + ": " + why_not(lanes, stages) +
         (lanes.step_s() < stages.step_s() ? ", too little to be worth other last bits" : "");
}

bool is_better(const Plan& a, const Plan& b) {
  if (a.fits != b.fits) return a.fits;
  return a.step_s() < b.step_s() * (1 - kTimeTolerance);
}

}  // namespace

std::vector<DeviceGrid> lane_grids(const PlanOptions& options, const Network& network) {
  if (!options.execution.auto_split || options.execution.partition == "counts") return {};
  const auto names = names_of_devices(options);
  const std::int64_t count = std::ssize(names);
  // Memory or a speed of its own for each device belongs to all of them.
  const bool takes_all = (!options.absent_devices && options.execution.device != "auto") ||
                         !options.unequal_memory_bytes.empty() ||
                         !options.unequal_flops_per_s.empty();
  const auto links = static_cast<std::int64_t>(network.chain->size());
  const std::int64_t most = std::min(count, options.most_slabs.value_or(count));
  std::vector<DeviceGrid> grids;
  for (std::int64_t replicas = 1; replicas <= most_replicas(options, count); ++replicas)
    for (std::int64_t stages = 1; stages <= std::min(count / replicas, links); ++stages)
      for (std::int64_t slabs = std::min(most, count / replicas / stages); slabs >= 1; --slabs) {
        const DeviceGrid grid{replicas, stages, slabs};
        const bool is_wanted =
            takes_all ? grid.devices() == count : is_of_use(grid, count / replicas);
        if (replicas * slabs > 1 && is_wanted && is_possible(options, grid, names, network))
          grids.push_back(grid);
      }
  return grids;
}

PlanOptions with_grid(const PlanOptions& options, const DeviceGrid& grid) {
  PlanOptions changed = options;
  changed.execution.split = grid;
  changed.execution.auto_split = false;
  if (changed.absent_devices) {
    changed.absent_devices = grid.devices();
    return changed;
  }
  auto names = device_names(parse_devices(options.execution.device));
  names.resize(static_cast<std::size_t>(grid.devices()));
  if (!changed.device_speeds.empty()) changed.device_speeds.resize(names.size());
  changed.execution.device = joined(names, ",");
  return changed;
}

Plan weighed(Plan stages, std::vector<Plan> others, std::int64_t batch) {
  if (others.empty()) return stages;
  Plan& best = *std::min_element(others.begin(), others.end(), is_better);
  if (!stages.fits && !best.fits) return stages;
  const bool takes_lanes =
      !stages.fits || (best.fits && best.step_s() < (1 - kWorthOfLanes) * stages.step_s());
  const Plan* rival = nullptr;
  for (const Plan& other : others)
    if ((other.setup.replicas > 1) != (best.setup.replicas > 1) &&
        (rival == nullptr || is_better(other, *rival)))
      rival = &other;
  const std::string why =
      takes_lanes ? why_lanes(best, stages, rival, batch) : why_stages(stages, best);
  Plan chosen = takes_lanes ? std::move(best) : std::move(stages);
  chosen.reasons.insert(chosen.reasons.begin(), why);
  return chosen;
}

}  // namespace lamp
