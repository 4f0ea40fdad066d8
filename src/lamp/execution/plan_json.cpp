// Rows of layers, skips, stages and devices.
#include "lamp/execution/plan_json.h"

#include <algorithm>

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
  Json stages = Json::array();
  for (std::size_t j = 0; j < plan.setup.stages(); ++j)
    stages.push_back({{"device", plan.setup.devices[j].name},
                      {"first", plan.balance.partition[j].first},
                      {"last", plan.balance.partition[j].last - 1},
                      {"step_s", plan.simulation.busy[j]},
                      {"peak_bytes", plan.stage_peak_bytes[j]}});
  return stages;
}

Json devices_json(const Plan& plan) {
  Json devices = Json::array();
  const auto distinct = plan.setup.distinct_devices();
  for (std::size_t d = 0; d < distinct.size(); ++d)
    devices.push_back({{"name", distinct[d].name},
                       {"memory_bytes", distinct[d].memory_bytes},
                       {"peak_bytes", plan.balance.peak_bytes[d]}});
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
          {"step_s", plan.step_s()},
          {"update_s", plan.update_s},
          {"lower_bound_s", plan.balance.lower_bound_s + plan.update_s},
          {"proven", plan.balance.proven},
          {"bubble", plan.simulation.bubble},
          {"utilisation", plan.simulation.utilisation},
          {"fits", plan.fits},
          {"reasons", plan.reasons}};
}

// The plan's own words where both have one: stages with their seconds and bytes.
Json to_json(const NetworkPlan& chosen) {
  Json json = to_json(chosen.execution);
  json.update(to_json(chosen.plan));
  return json;
}

}  // namespace lamp
