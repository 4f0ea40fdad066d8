// A sweep over the beginnings and ends of what stages do.
#include "lamp/planner/overlap.h"

#include <algorithm>
#include <string>
#include <utility>

namespace lamp {
namespace {

std::size_t stages_of(const PipelineSetup& setup, const std::string& device) {
  return static_cast<std::size_t>(
      std::count_if(setup.devices.begin(), setup.devices.end(),
                    [&](const PlanDevice& other) { return other.name == device; }));
}

double overlap_of_stages(const PipelineSetup& setup, const std::vector<TimelineEntry>& timeline) {
  const auto most = std::max_element(setup.devices.begin(), setup.devices.end(),
                                     [&](const PlanDevice& a, const PlanDevice& b) {
                                       return stages_of(setup, a.name) < stages_of(setup, b.name);
                                     });
  const std::size_t sharing = stages_of(setup, most->name);
  if (sharing < 2) return 0;
  std::vector<std::pair<double, int>> changes;  // of how many are at work
  for (const TimelineEntry& entry : timeline) {
    if (entry.kind == WorkKind::kTransfer ||
        setup.devices[static_cast<std::size_t>(entry.stage)].name != most->name)
      continue;
    changes.emplace_back(entry.start, 1);
    changes.emplace_back(entry.end, -1);
  }
  std::sort(changes.begin(), changes.end());
  double busy = 0, beside = 0, before = 0, working = 0;
  for (const auto& [time, change] : changes) {
    busy += working * (time - before);
    beside += working * (working - 1) * (time - before);
    working += change;
    before = time;
  }
  return busy > 0 ? beside / busy / static_cast<double>(sharing - 1) : 0;
}

// Of workers: all slabs of a worker's own stage, and those of other stages as these overlap.
double with_slabs(const PipelineSetup& setup, double of_stages) {
  const auto workers = static_cast<double>(setup.sharing());
  const auto slabs = static_cast<double>(setup.slabs_on_device());
  if (slabs < 2) return of_stages;
  if (workers < 2) return 0;  // one core, and no two of them at the same time
  if (workers <= slabs) return 1;
  return (slabs - 1 + of_stages * (workers - slabs)) / (workers - 1);
}

}  // namespace

double overlap_of(const PipelineSetup& setup, const std::vector<TimelineEntry>& timeline) {
  return with_slabs(setup, overlap_of_stages(setup, timeline));
}

double usual_overlap(const PipelineSetup& setup) {
  if (setup.sharing() < 2) return 0;
  if (setup.takes_turns()) return with_slabs(setup, 0);
  const Schedule schedule =
      make_schedule(setup.schedule, static_cast<int>(setup.stages()), setup.microbatches);
  const StageCosts equal = schedule.splits_backward() ? StageCosts{1, 1, 1} : StageCosts{1, 2, 0};
  return overlap_of(setup,
                    simulate(schedule, {.stages = std::vector(setup.stages(), equal)}).timeline);
}

}  // namespace lamp
