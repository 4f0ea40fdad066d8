// Live tensors, link by link.
#include "lamp/planner/forward_pass.h"

#include <algorithm>
#include <cstddef>

namespace lamp {

std::vector<std::int64_t> forward_pass_bytes(const NetworkCosts& costs, const StageRange& links) {
  std::vector<std::int64_t> result;
  for (std::size_t link = links.first; link < links.last; ++link) {
    const LayerCosts& layer = costs.layers[link];
    std::int64_t now = layer.output_bytes + layer.forward_workspace_bytes;
    bool is_counted = link == links.first;  // its input
    for (const SkipBytes& skip : costs.skips) {
      if (!links.contains(skip.from) || skip.from >= link || skip.to < link) continue;
      now += skip.bytes;
      is_counted = is_counted || (skip.is_handed_on && skip.from + 1 == link);
    }
    if (!is_counted) now += costs.layers[link - 1].output_bytes;
    result.push_back(now);
  }
  return result;
}

std::int64_t prediction_peak_bytes(const NetworkCosts& costs, const StageRange& links,
                                   int waiting) {
  const auto bytes = forward_pass_bytes(costs, links);
  std::int64_t most = 0;
  for (std::size_t link = links.first; link < links.last; ++link) {
    std::int64_t now = bytes[link - links.first];
    if (link == links.first)
      now += link == 0 ? costs.input_bytes : costs.layers[link - 1].output_bytes;
    for (const SkipBytes& skip : costs.skips)
      if (skip.to == link && !links.contains(skip.from)) now += skip.bytes;
    most = std::max(most, now);
  }
  for (const SkipBytes& skip : costs.skips)
    if (links.contains(skip.from) && !links.contains(skip.to)) most += waiting * skip.bytes;
  return most;
}

}  // namespace lamp
