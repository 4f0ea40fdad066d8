// Rows of layers, skips, stages and devices.
#include "lamp/execution/plan_json.h"

#include <algorithm>
#include <utility>

namespace lamp {
namespace {

// Of one micro-batch. A recomputation is a forward pass; gradients are as large as parameters.
Json layers_json(const Plan& plan) {
  Json layers = Json::array();
  for (const LayerCosts& layer : plan.costs.layers)
    layers.push_back(
        {{"name", layer.name},
         {"forward_s", layer.forward_s},
         {"backward_s", layer.backward_s},
         {"recompute_s", layer.forward_s},
         {"weight_s", layer.weight_s},
         {"parameter_bytes", layer.parameter_bytes},
         {"gradient_bytes", layer.parameter_bytes},
         {"optimizer_bytes", static_cast<std::int64_t>(plan.setup.optimizer_factor *
                                                       static_cast<double>(layer.parameter_bytes))},
         {"activation_bytes", layer.saved_bytes},
         {"output_bytes", layer.output_bytes},
         {"halo_bytes", layer.halo_bytes},
         {"exchange_s", layer.forward_exchange_s + layer.backward_exchange_s},
         {"workspace_bytes", std::max({layer.forward_workspace_bytes,
                                       layer.backward_workspace_bytes, std::int64_t{0}})}});
  return layers;
}

Json skips_json(const NetworkCosts& costs) {
  Json skips = Json::array();
  for (const SkipBytes& skip : costs.skips)
    skips.push_back(
        {{"name", skip.name}, {"from", skip.from}, {"to", skip.to}, {"bytes", skip.bytes}});
  return skips;
}

Json stages_json(const Plan& plan) {
  const std::size_t slabs = plan.setup.slabs_of_replica(), stages = plan.setup.stages();
  Json rows = stage_rows(device_order(plan), plan.balance.partition,
                         static_cast<std::int64_t>(plan.setup.replicas));
  for (std::size_t row = 0; row < rows.size(); ++row) {
    const std::size_t stage = row / slabs % stages;
    rows[row]["step_s"] = plan.simulation.busy[stage];
    rows[row]["peak_bytes"] = slab_peak_bytes(plan, stage, row % slabs);
  }
  return rows;
}

Json devices_json(const Plan& plan) {
  Json devices = Json::array();
  for (const DeviceNeed& need : device_needs(plan))
    devices.push_back({{"name", need.device.name},
                       {"memory_bytes", need.device.memory_bytes},
                       {"peak_bytes", need.peak_bytes}});
  return devices;
}

}  // namespace

Json to_json(const Plan& plan) {
  return {{"layers", layers_json(plan)},
          {"skips", skips_json(plan.costs)},
          {"loss", {{"step_s", plan.costs.loss_s}, {"bytes", plan.costs.loss_workspace_bytes}}},
          {"stages", stages_json(plan)},
          {"devices", devices_json(plan)},
          {"schedule", to_string(plan.setup.schedule)},
          {"microbatches", plan.setup.microbatches},
          {"recompute", rule_names(plan.balance.recompute)},
          {"halo_bytes", halo_bytes(plan)},
          {"exchange_s", exchange_s(plan)},
          {"step_s", plan.step_s()},
          {"update_s", plan.update_s},
          {"merge_s", plan.merge_s},
          {"lower_bound_s", plan.balance.lower_bound_s + plan.update_s + plan.merge_s},
          {"proven", plan.balance.proven},
          {"bubble", plan.simulation.bubble},
          {"utilisation", plan.simulation.utilisation},
          {"fits", plan.fits},
          {"reasons", plan.reasons}};
}

namespace {

// Rows of replicas that have no sample: all they hold is a copy of the weights.
void add_idle_rows(Json& rows, const Json& all, const NetworkCosts& costs) {
  for (std::size_t row = rows.size(); row < all.size(); ++row) {
    Json idle = all[row];
    std::int64_t bytes = 0;
    for (auto link = idle["first"].get<std::size_t>(); link <= idle["last"]; ++link)
      bytes += costs.layers[link].parameter_bytes;
    idle["step_s"] = 0.0;
    idle["peak_bytes"] = bytes;
    rows.push_back(std::move(idle));
  }
}

}  // namespace

// The plan's own words where both have one: stages with their seconds and bytes.
Json to_json(const NetworkPlan& chosen) {
  Json json = to_json(chosen.execution);
  const Json all = json["stages"];
  json.update(to_json(chosen.plan));
  add_idle_rows(json["stages"], all, chosen.plan.costs);
  return json;
}

}  // namespace lamp
