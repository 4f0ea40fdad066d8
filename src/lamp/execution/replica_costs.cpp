// Turns, and bytes as of more planes.
#include "lamp/execution/replica_costs.h"

#include <ATen/Parallel.h>

#include <algorithm>

#include "lamp/base/device.h"
#include "lamp/execution/slab_costs.h"

namespace lamp {

double replica_share_of_seconds(const PlanOptions& options) {
  if (!options.execution.split || !is_one_device(options)) return 1;
  const DeviceGrid grid = grid_of(options);
  // A GPU runs one slab at a time.
  const bool on_host =
      !options.absent_devices && parse_devices(options.execution.device).front().is_cpu();
  const std::int64_t at_once = on_host ? std::max(1, at::get_num_threads()) : 1;
  const auto turns = [&](std::int64_t slabs) { return (slabs + at_once - 1) / at_once; };
  return static_cast<double>(turns(grid.replicas * grid.slabs)) /
         static_cast<double>(turns(grid.slabs));
}

void add_replicas(NetworkCosts& costs, const PlanOptions& options) {
  if (!options.execution.split) return;
  const DeviceGrid grid = grid_of(options);
  if (grid.replicas == 1) return;
  for (LayerCosts& layer : costs.layers) layer.halo_bytes *= grid.replicas;
  if (is_one_device(options)) scale_planes(costs, static_cast<double>(grid.replicas));
  scale_seconds(costs, replica_share_of_seconds(options));
}

}  // namespace lamp
