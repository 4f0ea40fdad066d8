// A queue of gradients behind a backward pass.
#include "lamp/planner/gradient_transfer.h"

#include <algorithm>
#include <cstddef>
#include <optional>

namespace lamp {
namespace {

// Of all lanes' gradients or weights, what the first one's link carries for each byte.
double passes_of_first_link(const PipelineSetup& setup) {
  const auto lanes = static_cast<double>(setup.slabs());
  return 2 * (lanes - 1) / lanes;
}

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

std::vector<FinalGradient> final_gradients(const NetworkCosts& costs, const StageRange& links,
                                           WorkKind kind) {
  std::vector<FinalGradient> gradients;
  for (std::size_t link = links.first; link < links.last; ++link) {
    const LayerCosts& layer = costs.layers[link];
    gradients.push_back(
        {kind == WorkKind::kWeight ? layer.weight_s : layer.backward_s, layer.parameter_bytes});
  }
  return gradients;
}

double largest_weights_s(const NetworkCosts& costs, const PipelineSetup& setup,
                         const Partition& partition, double s_per_byte) {
  const auto device_of = setup.device_of_stages();
  std::vector<double> seconds(setup.distinct_devices().size(), 0);
  for (std::size_t j = 0; j < partition.size(); ++j)
    for (std::size_t link = partition[j].first; link < partition[j].last; ++link)
      seconds[device_of[j]] += s_per_byte * static_cast<double>(costs.layers[link].parameter_bytes);
  return *std::max_element(seconds.begin(), seconds.end());
}

}  // namespace

double exposed_transfer_s(const std::vector<FinalGradient>& layers, double s_per_byte) {
  double now = 0, sent = 0;
  for (std::size_t i = layers.size(); i-- > 0;) {
    now += layers[i].backward_s;
    if (layers[i].bytes == 0) continue;
    sent = std::max(now, sent) + s_per_byte * static_cast<double>(layers[i].bytes);
  }
  return std::max(0.0, sent - now);
}

double merge_seconds(const NetworkCosts& costs, const PipelineSetup& setup,
                     const Partition& partition, const Simulation& simulation) {
  if (setup.slabs() == setup.slabs_on_device()) return 0;
  const double s_per_byte = passes_of_first_link(setup) / setup.bytes_per_s;
  double end = simulation.makespan;
  for (std::size_t j = 0; j < partition.size(); ++j) {
    const auto last = last_backward(simulation, j);
    if (!last) continue;
    end = std::max(
        end, last->end +
                 exposed_transfer_s(final_gradients(costs, partition[j], last->kind), s_per_byte));
  }
  return end - simulation.makespan + largest_weights_s(costs, setup, partition, s_per_byte);
}

}  // namespace lamp
