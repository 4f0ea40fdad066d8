// From links to stages.
#include "lamp/planner/pipeline_setup.h"

#include <algorithm>

#include "lamp/pipeline/stage_threads.h"

namespace lamp {
namespace {

double transfer_s(const PipelineSetup& setup, std::size_t from, std::size_t to,
                  std::int64_t bytes) {
  if (setup.shares_device(from, to)) return 0;
  return static_cast<double>(bytes) / setup.bytes_per_s;
}

}  // namespace

std::vector<PlanDevice> PipelineSetup::distinct_devices() const {
  std::vector<PlanDevice> distinct;
  for (const PlanDevice& device : devices)
    if (std::none_of(distinct.begin(), distinct.end(),
                     [&](const PlanDevice& known) { return known.name == device.name; }))
      distinct.push_back(device);
  return distinct;
}

std::size_t PipelineSetup::slabs_on_device() const {
  const bool same = std::all_of(workers.begin(), workers.end(), [&](const PlanDevice& worker) {
    return worker.name == workers.front().name;
  });
  return same ? slabs() : 1;
}

std::int64_t PipelineSetup::bytes_of_slab(std::int64_t bytes_of_largest, std::size_t slab) const {
  if (slab_parts.empty() || bytes_of_largest <= slab_fixed_bytes) return bytes_of_largest;
  return slab_fixed_bytes +
         static_cast<std::int64_t>(slab_parts[slab] *
                                   static_cast<double>(bytes_of_largest - slab_fixed_bytes));
}

std::vector<std::size_t> PipelineSetup::device_of_stages() const {
  const auto distinct = distinct_devices();
  std::vector<std::size_t> indices;
  for (const PlanDevice& device : devices)
    indices.push_back(static_cast<std::size_t>(
        std::find_if(distinct.begin(), distinct.end(),
                     [&](const PlanDevice& known) { return known.name == device.name; }) -
        distinct.begin()));
  return indices;
}

std::int64_t PipelineSetup::over_bytes(const std::vector<std::int64_t>& peak_bytes) const {
  const auto distinct = distinct_devices();
  std::int64_t over = std::numeric_limits<std::int64_t>::lowest();
  for (std::size_t d = 0; d < distinct.size(); ++d)
    over = std::max(over, peak_bytes[d] - distinct[d].memory_bytes);
  return over;
}

std::vector<std::string> PipelineSetup::worker_names() const {
  std::vector<std::string> names;
  for (const PlanDevice& worker : workers.empty() ? devices : workers) names.push_back(worker.name);
  return names;
}

bool PipelineSetup::takes_turns() const {
  return take_turns(worker_names(), threads, schedule, microbatches);
}

int PipelineSetup::sharing() const {
  const std::vector<std::string> names = worker_names();
  if (slabs() > 1 && is_crowded(names, threads))
    return std::min(threads, static_cast<int>(names.size()));
  return sharing_stages(names, threads);
}

double PipelineSetup::mean_share() const {
  if (batch == 0) return 1;
  const std::int64_t largest = (batch + microbatches - 1) / microbatches;
  return static_cast<double>(batch) / static_cast<double>(microbatches * largest);
}

Simulation simulate(const PipelineSetup& setup, const Schedule& schedule,
                    const PipelineCosts& costs, bool with_timeline) {
  return setup.takes_turns() ? simulate_in_turn(schedule, costs, with_timeline)
                             : simulate(schedule, costs, with_timeline);
}

PipelineCosts pipeline_costs(const NetworkCosts& costs, const PipelineSetup& setup,
                             const Partition& partition,
                             const std::vector<RecomputeRule>& recompute) {
  const bool splits = setup.schedule == ScheduleKind::kZeroBubble;
  PipelineCosts result{.recompute = recompute};
  for (std::size_t j = 0; j < partition.size(); ++j) {
    StageCosts stage{0, 0, 0};
    for (std::size_t link = partition[j].first; link < partition[j].last; ++link) {
      const LayerCosts& layer = costs.layers[link];
      stage.forward += layer.forward_s;
      stage.backward += layer.backward_s - (splits ? layer.weight_s : 0);
      stage.weight += splits ? layer.weight_s : 0;
    }
    const bool is_last = j + 1 == partition.size();
    if (is_last) stage.backward += costs.loss_s;
    result.stages.push_back(stage);
    if (!is_last)
      result.transfers.push_back(
          transfer_s(setup, j, j + 1, costs.layers[partition[j].last - 1].output_bytes));
  }
  for (const SkipBytes& skip : costs.skips) {
    const std::size_t from = stage_of(partition, skip.from);
    const std::size_t to = stage_of(partition, skip.to);
    if (from != to)
      result.skips.push_back(
          {static_cast<int>(from), static_cast<int>(to), transfer_s(setup, from, to, skip.bytes)});
  }
  return result;
}

}  // namespace lamp
