// Turns, and bytes as of more planes.
#include "lamp/execution/replica_costs.h"

#include "lamp/execution/slab_costs.h"

namespace lamp {

double replica_share_of_seconds(const PlanOptions& options) {
  if (!options.execution.split || !is_one_device(options)) return 1;
  const DeviceGrid grid = grid_of(options);
  return static_cast<double>(turns_on_device(options, grid.replicas * grid.slabs)) /
         static_cast<double>(turns_on_device(options, grid.slabs));
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
