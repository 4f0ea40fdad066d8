// From links to stages.
#include "lamp/planner/pipeline_setup.h"

#include <algorithm>
#include <map>
#include <utility>

namespace lamp {
namespace {

double transfer_s(const PipelineSetup& setup, std::size_t from, std::size_t to,
                  std::int64_t bytes) {
  if (setup.shares_device(from, to)) return 0;
  return setup.latency_s + static_cast<double>(bytes) / setup.bytes_per_s;
}

// The time that really passes while a timeline does whose stages do not wait for each other's
// device: moments in between are as many times longer as the fullest device has too many stages at
// work.
class CrowdedTime {
 public:
  CrowdedTime(const PipelineSetup& setup, const std::vector<TimelineEntry>& timeline) {
    const auto device_of = setup.device_of_stages();
    const auto devices = setup.distinct_devices();
    std::map<double, std::vector<int>> changes;  // at a moment, by device: stages at work, more
    for (const TimelineEntry& entry : timeline) {
      if (entry.kind == WorkKind::kTransfer || entry.end <= entry.start) continue;
      const std::size_t device = device_of[static_cast<std::size_t>(entry.stage)];
      for (const auto& [time, more] : {std::pair(entry.start, 1), std::pair(entry.end, -1)}) {
        auto& change = changes[time];
        change.resize(devices.size(), 0);
        change[device] += more;
      }
    }
    std::vector<int> at_work(devices.size(), 0);
    double slowdown = 1, before = 0, passed = 0;
    for (const auto& [time, change] : changes) {
      passed += (time - before) * slowdown;
      points_.push_back({time, passed});
      before = time;
      slowdown = 1;
      for (std::size_t d = 0; d < devices.size(); ++d) {
        at_work[d] += change[d];
        slowdown = std::max(slowdown, static_cast<double>(at_work[d]) / devices[d].lanes);
      }
    }
  }

  double operator()(double time) const {
    const auto next = std::lower_bound(points_.begin(), points_.end(), std::pair(time, 0.0));
    if (next == points_.end())
      return points_.empty() ? time : points_.back().second + time - points_.back().first;
    if (next == points_.begin()) return time;
    const auto& [from, passed] = *std::prev(next);
    const double share = (time - from) / (next->first - from);
    return passed + share * (next->second - passed);
  }

 private:
  std::vector<std::pair<double, double>> points_;  // simulated, passed
};

void stretch(Simulation& simulation, const CrowdedTime& passed) {
  simulation.makespan = passed(simulation.makespan);
  std::fill(simulation.busy.begin(), simulation.busy.end(), 0);
  double busy = 0;
  for (TimelineEntry& entry : simulation.timeline) {
    entry.start = passed(entry.start);
    entry.end = passed(entry.end);
    if (entry.kind == WorkKind::kTransfer) continue;
    simulation.busy[static_cast<std::size_t>(entry.stage)] += entry.end - entry.start;
    busy += entry.end - entry.start;
  }
  const double total = simulation.makespan * static_cast<double>(simulation.busy.size());
  simulation.utilisation = total > 0 ? std::min(busy / total, 1.0) : 1;
  simulation.bubble = 1 - simulation.utilisation;
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

bool PipelineSetup::takes_turns() const {
  return (microbatches == 1 || schedule == ScheduleKind::kNaive) &&
         std::all_of(devices.begin(), devices.end(),
                     [&](const PlanDevice& device) { return device.name == devices.front().name; });
}

bool PipelineSetup::is_crowded() const {
  return std::any_of(devices.begin(), devices.end(), [&](const PlanDevice& device) {
    return std::count_if(devices.begin(), devices.end(), [&](const PlanDevice& other) {
             return other.name == device.name;
           }) > device.lanes;
  });
}

Simulation simulate(const PipelineSetup& setup, const Schedule& schedule,
                    const PipelineCosts& costs, bool with_timeline) {
  if (setup.takes_turns()) return simulate_in_turn(schedule, costs, with_timeline);
  if (!setup.is_crowded()) return simulate(schedule, costs, with_timeline);
  Simulation simulation = simulate(schedule, costs);
  stretch(simulation, CrowdedTime(setup, simulation.timeline));
  if (!with_timeline) simulation.timeline.clear();
  return simulation;
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
