// Divisors of the number of devices, and a comparison of whole plans.
#include "lamp/execution/grid_choice.h"

#include <algorithm>
#include <string>
#include <utility>

#include "lamp/base/device.h"
#include "lamp/base/errors.h"
#include "lamp/base/text.h"
#include "lamp/execution/slab_costs.h"

namespace lamp {
namespace {

std::vector<std::string> names_of_devices(const PlanOptions& options) {
  if (!options.absent_devices) return device_names(parse_devices(options.execution.device));
  std::vector<std::string> names;
  for (std::int64_t d = 0; d < *options.absent_devices; ++d) names.push_back(std::to_string(d));
  return names;
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

std::string name_of(const Plan& plan) {
  const std::string slabs = "slabs=" + std::to_string(plan.setup.slabs_of_replica());
  const std::string stages = "stages=" + std::to_string(plan.setup.stages());
  if (plan.setup.slabs_of_replica() == 1) return stages;
  return plan.setup.stages() == 1 ? slabs : stages + "," + slabs;
}

std::string times_as_long(const Plan& other, const Plan& chosen) {
  return fixed(other.step_s() / chosen.step_s(), 2) + " times as long";
}

std::string why_slabs(const Plan& slabs, const Plan& stages, std::int64_t batch) {
  std::string text = name_of(slabs) + ": ";
  if (!stages.fits) return text + "stages alone would not fit";
  if (batch == 1) text += "one volume in a batch, ";
  const std::string other =
      stages.setup.stages() == 1 ? "one device alone" : counted(stages.setup.stages(), "stage");
  return text + other + " would take " + times_as_long(stages, slabs);
}

std::string why_stages(const Plan& stages, const Plan& slabs) {
  if (!slabs.fits) return name_of(stages) + ": slabs would not fit";
  return name_of(stages) + ": " + name_of(slabs) + " would take " + times_as_long(slabs, stages) +
         (slabs.step_s() < stages.step_s() ? ", too little to be worth other last bits" : "");
}

bool is_better(const Plan& a, const Plan& b) {
  if (a.fits != b.fits) return a.fits;
  return a.step_s() < b.step_s() * (1 - kTimeTolerance);
}

}  // namespace

std::vector<DeviceGrid> slab_grids(const PlanOptions& options, const Network& network) {
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
  for (std::int64_t stages = 1; stages <= std::min(count / 2, links); ++stages)
    for (std::int64_t slabs = most; slabs >= 2; --slabs) {
      const DeviceGrid grid{.stages = stages, .slabs = slabs};
      const bool is_largest = stages == count / slabs;  // of as many slabs
      const bool is_wanted = takes_all ? grid.devices() == count : stages == 1 || is_largest;
      if (is_wanted && grid.devices() <= count && is_possible(options, grid, names, network))
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

Plan weighed(Plan stages, std::vector<Plan> slabs, std::int64_t batch) {
  if (slabs.empty()) return stages;
  Plan& best = *std::min_element(slabs.begin(), slabs.end(), is_better);
  if (!stages.fits && !best.fits) return stages;
  const bool takes_slabs =
      !stages.fits || (best.fits && best.step_s() < (1 - kWorthOfSlabs) * stages.step_s());
  const std::string why = takes_slabs ? why_slabs(best, stages, batch) : why_stages(stages, best);
  Plan chosen = takes_slabs ? std::move(best) : std::move(stages);
  chosen.reasons.insert(chosen.reasons.begin(), why);
  return chosen;
}

}  // namespace lamp
