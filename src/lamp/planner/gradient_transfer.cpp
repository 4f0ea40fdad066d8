// A queue of gradients behind a backward pass.
#include "lamp/planner/gradient_transfer.h"

#include <algorithm>
#include <cstddef>
#include <optional>

namespace lamp {
namespace {

// The last backward, or weight half where these are put off: it makes gradients final.
std::optional<TimelineEntry> last_backward(const Simulation& simulation, std::size_t stage) {
  std::optional<TimelineEntry> last;
  for (const TimelineEntry& entry : simulation.timeline) {
    const bool makes_gradients =
        entry.kind == WorkKind::kBackward || entry.kind == WorkKind::kWeight;
    if (!makes_gradients || entry.stage != static_cast<int>(stage)) continue;
    if (!last || entry.end >= last->end) last = entry;
  }
  return last;
}

// Where weights' halves are put off, no pass goes on while gradients are sent.
std::vector<LayerTransfer> gradients_of(const NetworkCosts& costs, const StageRange& links,
                                        WorkKind last) {
  std::vector<LayerTransfer> transfers;
  for (std::size_t link = links.first; link < links.last; ++link) {
    const LayerCosts& layer = costs.layers[link];
    transfers.push_back({last == WorkKind::kWeight ? 0 : layer.backward_s, layer.parameter_bytes});
  }
  return transfers;
}

std::vector<LayerTransfer> weights_of(const NetworkCosts& costs, const StageRange& links) {
  std::vector<LayerTransfer> transfers;
  for (std::size_t link = links.first; link < links.last; ++link)
    transfers.push_back({costs.layers[link].forward_s, costs.layers[link].parameter_bytes});
  return transfers;
}

double first_forward_start(const Simulation& simulation, std::size_t stage) {
  double start = simulation.makespan;
  for (const TimelineEntry& entry : simulation.timeline)
    if (entry.kind == WorkKind::kForward && entry.stage == static_cast<int>(stage))
      start = std::min(start, entry.start);
  return start;
}

}  // namespace

double exposed_gradients_s(const std::vector<LayerTransfer>& layers, double s_per_byte) {
  double now = 0, sent = 0;
  for (std::size_t i = layers.size(); i-- > 0;) {
    now += layers[i].work_s;
    if (layers[i].bytes == 0) continue;
    sent = std::max(now, sent) + s_per_byte * static_cast<double>(layers[i].bytes);
  }
  return std::max(0.0, sent - now);
}

double exposed_weights_s(const std::vector<LayerTransfer>& layers, double start_s,
                         double s_per_byte) {
  double now = start_s, sent = 0, waited = 0;
  for (const LayerTransfer& layer : layers) {
    sent += s_per_byte * static_cast<double>(layer.bytes);
    if (layer.bytes > 0 && sent > now) {
      waited += sent - now;
      now = sent;
    }
    now += layer.work_s;
  }
  return waited;
}

double merge_seconds(const NetworkCosts& costs, const PipelineSetup& setup,
                     const Partition& partition, const Simulation& simulation) {
  if (setup.slabs() == setup.slabs_on_device()) return 0;
  const double s_per_byte = 1 / setup.bytes_per_s;
  double end = simulation.makespan, weights = 0;
  for (std::size_t j = 0; j < partition.size(); ++j) {
    const auto last = last_backward(simulation, j);
    if (!last) continue;
    end = std::max(end, last->end + exposed_gradients_s(
                                        gradients_of(costs, partition[j], last->kind), s_per_byte));
    weights = std::max(weights, exposed_weights_s(weights_of(costs, partition[j]),
                                                  first_forward_start(simulation, j), s_per_byte));
  }
  return end - simulation.makespan + weights;
}

}  // namespace lamp
