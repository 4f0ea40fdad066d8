// The least of all candidates.
#include "lamp/execution/shape_fit.h"

#include <algorithm>

#include "lamp/execution/grid_choice.h"
#include "lamp/execution/plan_costs.h"
#include "lamp/planner/fit.h"

namespace lamp {

bool is_reduced(const std::string& precision) { return precision != "fp32" && precision != "auto"; }

NetworkCosts halved(NetworkCosts costs) {
  const auto halve = [](std::int64_t& bytes) { bytes /= 2; };
  for (LayerCosts& layer : costs.layers) {
    halve(layer.output_bytes);
    halve(layer.saved_bytes);
    halve(layer.handed_bytes);
    halve(layer.forward_workspace_bytes);
    halve(layer.backward_workspace_bytes);
    halve(layer.input_half_workspace_bytes);
    halve(layer.weight_half_workspace_bytes);
  }
  for (SkipBytes& skip : costs.skips) halve(skip.bytes);
  halve(costs.loss_workspace_bytes);
  return costs;
}

void hold_little(PlanRequest& request) {
  if (request.devices.size() == 1) return;
  if (!request.schedule) request.schedule = ScheduleKind::kNaive;
  if (request.microbatches || !request.loss_is_sum) return;
  request.microbatches = static_cast<int>(
      std::clamp<std::int64_t>(request.batch / kLeastChosenSamples, 1, kMostChosenMicrobatches));
}

namespace {

bool is_too_large_as_asked(const PlanOptions& options, const std::shared_ptr<Network>& shapes) {
  const CostProvider exact = shape_costs_of(options, shapes);
  PlanRequest request = request_of(options, shapes);
  request.alternatives.clear();
  hold_little(request);
  for (PlanDevice& device : request.devices)
    device.memory_bytes =
        static_cast<std::int64_t>(static_cast<double>(device.memory_bytes) / (1 - kModelError));
  const bool halve = is_reduced(options.execution.precision);
  return !least_fit(request, [&](const CostQuery& query) {
            return halve ? halved(exact(query)) : exact(query);
          }).fits;
}

}  // namespace

bool surely_too_large(const PlanOptions& options) {
  const auto shapes = shapes_of(options);
  if (!is_too_large_as_asked(options, shapes)) return false;
  const auto grids = lane_grids(options, *shapes);
  return std::all_of(grids.begin(), grids.end(), [&](const DeviceGrid& grid) {
    return is_too_large_as_asked(with_grid(options, grid), shapes);
  });
}

}  // namespace lamp
