// A network and requests that the tests of plans share.
#pragma once

#include <cstdint>
#include <string>

#include "lamp/planner/plan.h"
#include "support/made_up_costs.h"

namespace lamp::testing {

inline constexpr std::int64_t kGiB = std::int64_t{1} << 30;

inline void scale_bytes(NetworkCosts& costs, double factor) {
  const auto scale = [&](std::int64_t& bytes) {
    bytes = static_cast<std::int64_t>(static_cast<double>(bytes) * factor);
  };
  for (LayerCosts& layer : costs.layers) {
    scale(layer.output_bytes);
    scale(layer.saved_bytes);
    scale(layer.forward_workspace_bytes);
    scale(layer.backward_workspace_bytes);
  }
  for (SkipBytes& skip : costs.skips) scale(skip.bytes);
  scale(costs.input_bytes);
  scale(costs.loss_workspace_bytes);
}

// A U-Net whose micro-batches cost in proportion to their samples, on devices whose stages share
// its speed.
inline NetworkCosts proportional(const CostQuery& query, double size = 1) {
  NetworkCosts costs = unet_like_costs(3);
  const double samples = size * static_cast<double>(query.samples);
  scale_bytes(costs, samples);
  costs.samples = query.samples;
  for (LayerCosts& layer : costs.layers) {
    layer.forward_s *= samples * query.sharing;
    layer.backward_s *= samples * query.sharing;
    layer.weight_s *= samples * query.sharing;
  }
  return costs;
}

inline NetworkCosts full_size(const CostQuery& query) { return proportional(query); }

inline PlanRequest request_for(std::size_t devices, std::int64_t memory_bytes, std::int64_t batch) {
  PlanRequest request{.batch = batch, .bytes_per_s = 50e9};
  for (std::size_t d = 0; d < devices; ++d)
    request.devices.push_back({"d" + std::to_string(d), memory_bytes});
  return request;
}

}  // namespace lamp::testing
