// Costs of networks that do not exist: random ones, and one shaped like a U-Net.
#pragma once

#include <cmath>
#include <string>

#include "lamp/base/random.h"
#include "lamp/planner/network_costs.h"
#include "lamp/planner/pipeline_setup.h"

namespace lamp::testing {

inline NetworkCosts random_network_costs(Random& random, int links) {
  NetworkCosts costs;
  costs.input_bytes = 1 + random.below(100);
  costs.loss_s = random.uniform(0, 1);
  costs.loss_workspace_bytes = random.below(100);
  for (int link = 0; link < links; ++link) {
    LayerCosts layer;
    layer.name = "l" + std::to_string(link);
    layer.forward_s = random.uniform(0, 2);
    layer.backward_s = random.uniform(0, 4);
    layer.weight_s = random.below(2) == 0 ? 0 : layer.backward_s * random.uniform(0, 0.6);
    layer.parameter_bytes = random.below(2) * random.below(500);
    layer.buffer_bytes = random.below(20);
    layer.output_bytes = 1 + random.below(300);
    layer.saved_bytes = random.below(400);
    layer.drops_output = layer.saved_bytes < layer.output_bytes;
    layer.forward_workspace_bytes = random.below(100);
    layer.backward_workspace_bytes = random.below(100);
    layer.input_half_workspace_bytes = layer.backward_workspace_bytes / 2;
    layer.weight_half_workspace_bytes = layer.backward_workspace_bytes;
    costs.layers.push_back(layer);
  }
  for (int from = 0; from < links; ++from)
    if (const auto to = from + 1 + random.below(links); random.below(3) == 0 && to < links)
      costs.skips.push_back({"s" + std::to_string(from), static_cast<std::size_t>(from),
                             static_cast<std::size_t>(to), 1 + random.below(300)});
  return costs;
}

// `levels` down and up again, three links a level each way: a convolution, its norm, one that
// stashes or pops. Halving the size divides arithmetic by four and bytes by four.
inline NetworkCosts unet_like_costs(int levels) {
  constexpr double kSeconds = 1.0;
  constexpr double kBytes = 1 << 30;
  NetworkCosts costs{.input_bytes = 1 << 26, .loss_s = 0.01, .loss_workspace_bytes = 1 << 27};
  const auto add = [&](double share, double bytes_share, bool convolves) {
    const auto bytes = static_cast<std::int64_t>(kBytes * bytes_share);
    const double seconds = kSeconds * share;
    costs.layers.push_back({.name = "l" + std::to_string(costs.layers.size()),
                            .forward_s = seconds,
                            .backward_s = 2 * seconds,
                            .weight_s = convolves ? seconds : 0,
                            .parameter_bytes = convolves ? 1 << 20 : 0,
                            .output_bytes = bytes,
                            .saved_bytes = bytes,
                            .backward_workspace_bytes = bytes / 8});
  };
  for (int way = 0; way < 2; ++way) {
    for (int i = 0; i < levels; ++i) {
      const int level = way == 0 ? i : levels - 1 - i;
      const double share = std::pow(0.25, level);
      add(share * (way == 0 ? 0.2 : 1), share, true);
      add(share * 0.03, share, false);
      add(way == 0 ? 0 : share * 0.05, share, false);
      const std::size_t link = costs.layers.size() - 1;
      if (way == 0)
        costs.skips.push_back(
            {"s" + std::to_string(level), link, 0, static_cast<std::int64_t>(kBytes * share)});
      else
        costs.skips[static_cast<std::size_t>(level)].to = link;
    }
  }
  return costs;
}

inline PipelineSetup made_up_setup(ScheduleKind kind, int stages, int microbatches) {
  PipelineSetup setup{.schedule = kind, .microbatches = microbatches};
  for (int j = 0; j < stages; ++j) setup.devices.push_back({"d" + std::to_string(j)});
  return setup;
}

}  // namespace lamp::testing
