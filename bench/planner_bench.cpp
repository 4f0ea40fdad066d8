// The planner's cut beside those by time and by size, in simulation: seconds a step for networks,
// numbers of devices and schedules, with costs from shapes. Prints JSON.
#include <iostream>
#include <string>
#include <vector>

#include "lamp/base/json.h"
#include "lamp/nets/net_factory.h"
#include "lamp/planner/balance.h"
#include "lamp/profile/shape_costs.h"

namespace lamp {
namespace {

constexpr double kBytesPerS = 25e9;
constexpr int kMicroBatches = 8;
constexpr std::int64_t kSide = 128;

std::vector<double> by(const NetworkCosts& costs, double (*cost)(const LayerCosts&)) {
  std::vector<double> result;
  for (const LayerCosts& layer : costs.layers) result.push_back(cost(layer));
  return result;
}

Json row(const NetworkCosts& costs, ScheduleKind kind, int stages) {
  PipelineSetup setup{.schedule = kind, .microbatches = kMicroBatches, .bytes_per_s = kBytesPerS};
  for (int j = 0; j < stages; ++j) setup.devices.push_back({std::to_string(j)});
  const auto of = [&](double (*cost)(const LayerCosts&)) {
    return *evaluate_partition(costs, setup, partition_by_costs(by(costs, cost), setup.stages()),
                               RecomputeRule::kNever);
  };
  const auto best = *balance(costs, setup, {.recompute = RecomputeRule::kNever});
  const auto time = of([](const LayerCosts& layer) { return layer.forward_s + layer.backward_s; });
  const auto size = of([](const LayerCosts& layer) {
    return static_cast<double>(layer.saved_bytes + 3 * layer.parameter_bytes);
  });
  return {{"stages", stages},
          {"schedule", to_string(kind)},
          {"planner_s", best.step_s},
          {"by_time_s", time.step_s},
          {"by_size_s", size.step_s},
          {"planner_bytes", best.largest_peak_bytes},
          {"by_time_bytes", time.largest_peak_bytes},
          {"by_size_bytes", size.largest_peak_bytes},
          {"proven", best.proven},
          {"simulations", best.simulations}};
}

Json table(const NetConfig& config) {
  const Network network = make_network(config);
  network.chain->train();
  keep_shapes_only(*network.chain);
  const NetworkCosts costs = shape_costs(
      *network.chain, {1, config.in_channels, kSide, kSide, kSide}, {.memory_bytes_per_s = 1e12});
  Json rows = Json::array();
  for (const ScheduleKind kind : {ScheduleKind::kGPipe, ScheduleKind::k1F1B})
    for (int stages = 2; stages <= 8; ++stages) rows.push_back(row(costs, kind, stages));
  return {{"net", config.name}, {"width", config.width}, {"rows", rows}};
}

}  // namespace
}  // namespace lamp

int main() {
  lamp::Json tables = lamp::Json::array();
  for (const char* text : {R"({"name": "unet", "width": 32})", R"({"name": "unet", "width": 128})",
                           R"({"name": "seunet", "width": 32})", R"({"name": "anatomynet"})"}) {
    lamp::NetConfig config = lamp::parse_net_config(lamp::parse_json(text, "bench"));
    config.classes = 10;
    tables.push_back(lamp::table(config));
  }
  std::cout << lamp::dump_json(tables) << std::endl;
}
