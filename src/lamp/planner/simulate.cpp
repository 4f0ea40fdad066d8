// Stage orders and link orders are both fixed by the schedule, so every moment is the maximum of
// moments known before it: one walk, in which a finished action wakes the stages it feeds.
#include "lamp/planner/simulate.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <map>
#include <utility>

#include "lamp/base/errors.h"

namespace lamp {
namespace {

struct Work {
  WorkKind kind;
  int microbatch;
};

RecomputeRule rule_of(const PipelineCosts& costs, std::size_t stage) {
  return costs.recompute.empty() ? RecomputeRule::kNever : costs.recompute[stage];
}

double length_of(const StageCosts& cost, WorkKind kind) {
  if (kind == WorkKind::kBackward) return cost.backward;
  return kind == WorkKind::kWeight ? cost.weight : cost.forward;
}

double transfer_of(const PipelineCosts& costs, std::size_t boundary) {
  return costs.transfers.empty() ? 0 : costs.transfers[boundary];
}

void check_time(double seconds, const char* what) {
  if (!std::isfinite(seconds) || seconds < 0)
    throw UsageError(std::string("simulate: found the ") + what + " time " +
                     std::to_string(seconds) + ", expected a finite number of 0 or more");
}

void check_count(std::size_t found, std::size_t expected, const char* what) {
  if (found != expected)
    throw UsageError("simulate: found " + std::to_string(found) + " " + what + ", expected " +
                     std::to_string(expected));
}

void check_costs(const Schedule& schedule, const PipelineCosts& costs) {
  const std::size_t stages = schedule.actions.size();
  check_count(costs.stages.size(), stages, "stage costs");
  if (!costs.transfers.empty()) check_count(costs.transfers.size(), stages - 1, "transfer times");
  if (!costs.recompute.empty()) check_count(costs.recompute.size(), stages, "recompute rules");
  for (const StageCosts& cost : costs.stages) {
    check_time(cost.forward, "forward");
    check_time(cost.backward, "backward");
    check_time(cost.weight, "weight");
  }
  for (const double seconds : costs.transfers) check_time(seconds, "transfer");
  for (const SkipCost& skip : costs.skips) {
    check_time(skip.seconds, "skip");
    if (skip.from_stage < 0 || skip.to_stage <= skip.from_stage || skip.to_stage >= schedule.stages)
      throw UsageError("simulate: found a skip from stage " + std::to_string(skip.from_stage) +
                       " to stage " + std::to_string(skip.to_stage) +
                       ", expected an earlier and a later one");
  }
}

class PaperStep {
 public:
  PaperStep(const Schedule& schedule, const PipelineCosts& costs, bool with_timeline)
      : schedule_(schedule), costs_(costs), with_timeline_(with_timeline) {
    const std::size_t stages = schedule.actions.size();
    next_.assign(stages, 0);
    free_.assign(stages, 0);
    busy_.assign(stages, 0);
    routes_[0].resize(stages);
    routes_[1].resize(stages);
    for (int way = 0; way < 2; ++way)
      inputs_[way].assign(stages * static_cast<std::size_t>(schedule.microbatches), Input{});
    for (std::size_t j = 0; j < stages; ++j) add_work(j);
    for (std::size_t j = 0; j + 1 < stages; ++j)
      add_route(static_cast<int>(j), static_cast<int>(j) + 1, transfer_of(costs, j));
    for (const SkipCost& skip : costs.skips)
      add_route(skip.from_stage, skip.to_stage, skip.seconds);
    link_free_.assign(links_.size(), 0);
  }

  Simulation run() {
    std::vector<std::size_t> awake;
    for (std::size_t j = next_.size(); j-- > 0;) awake.push_back(j);
    while (!awake.empty()) {
      const std::size_t j = awake.back();
      awake.pop_back();
      while (advance(j, awake)) {
      }
    }
    for (std::size_t j = 0; j < next_.size(); ++j)
      if (next_[j] < work_[j].size())
        throw Error("invalid schedule: it would wait forever; stage " + std::to_string(j) +
                    " cannot start action " + std::to_string(next_[j]));
    return result();
  }

 private:
  // What a micro-batch's forward (way 0) or backward (way 1) on a stage still waits for.
  struct Input {
    int missing = 0;
    double ready = 0;
  };
  struct Route {
    std::size_t to;
    double seconds;
    std::size_t link;
  };

  void add_work(std::size_t stage) {
    std::vector<Work> work;
    for (const Action& action : schedule_.actions[stage]) {
      if (action.microbatch < 0 || action.microbatch >= schedule_.microbatches)
        throw Error("invalid schedule: micro-batch " + std::to_string(action.microbatch) + " of " +
                    std::to_string(schedule_.microbatches));
      if (action.kind == ActionKind::kBackward &&
          recomputes(rule_of(costs_, stage), action.microbatch, schedule_.microbatches))
        work.push_back({WorkKind::kRecompute, action.microbatch});
      work.push_back({work_kind(action.kind), action.microbatch});
    }
    work_.push_back(std::move(work));
  }

  void add_route(int from, int to, double seconds) {
    for (int way = 0; way < 2; ++way) {
      const auto source = static_cast<std::size_t>(way == 0 ? from : to);
      const auto target = static_cast<std::size_t>(way == 0 ? to : from);
      const auto link = links_.emplace(std::pair(source, target), links_.size()).first->second;
      routes_[way][source].push_back({target, seconds, link});
      for (int i = 0; i < schedule_.microbatches; ++i) ++input(way, target, i).missing;
    }
  }

  Input& input(int way, std::size_t stage, int microbatch) {
    return inputs_[way][stage * static_cast<std::size_t>(schedule_.microbatches) +
                        static_cast<std::size_t>(microbatch)];
  }

  bool advance(std::size_t stage, std::vector<std::size_t>& awake) {
    if (next_[stage] == work_[stage].size()) return false;
    const Work work = work_[stage][next_[stage]];
    const int way = work.kind == WorkKind::kForward ? 0 : work.kind == WorkKind::kBackward ? 1 : -1;
    double start = free_[stage];
    if (way >= 0) {
      const Input& waits = input(way, stage, work.microbatch);
      if (waits.missing > 0) return false;
      start = std::max(start, waits.ready);
    }
    const double end = start + length_of(costs_.stages[stage], work.kind);
    free_[stage] = end;
    busy_[stage] += end - start;
    ++next_[stage];
    record({static_cast<int>(stage), work.kind, work.microbatch, start, end});
    if (way >= 0) send(way, stage, work.microbatch, awake);
    return true;
  }

  void send(int way, std::size_t stage, int microbatch, std::vector<std::size_t>& awake) {
    for (const Route& route : routes_[way][stage]) {
      const double start = std::max(free_[stage], link_free_[route.link]);
      const double end = start + route.seconds;
      link_free_[route.link] = end;
      if (route.seconds > 0)
        record({static_cast<int>(stage), WorkKind::kTransfer, microbatch, start, end,
                static_cast<int>(route.to)});
      Input& fed = input(way, route.to, microbatch);
      fed.ready = std::max(fed.ready, end);
      if (--fed.missing == 0) awake.push_back(route.to);
    }
  }

  void record(const TimelineEntry& entry) {
    makespan_ = std::max(makespan_, entry.end);
    if (with_timeline_) timeline_.push_back(entry);
  }

  Simulation result() {
    Simulation simulation{.makespan = makespan_,
                          .peak_in_flight = lamp::peak_in_flight(schedule_),
                          .timeline = std::move(timeline_)};
    std::stable_sort(simulation.timeline.begin(), simulation.timeline.end(),
                     [](const auto& a, const auto& b) {
                       return std::pair(a.start, a.stage) < std::pair(b.start, b.stage);
                     });
    double busy = 0;
    for (const double seconds : busy_) busy += seconds;
    const double total = makespan_ * static_cast<double>(busy_.size());
    simulation.utilisation = total > 0 ? std::min(busy / total, 1.0) : 1;
    simulation.bubble = 1 - simulation.utilisation;
    simulation.busy = std::move(busy_);
    return simulation;
  }

  const Schedule& schedule_;
  const PipelineCosts& costs_;
  bool with_timeline_;
  std::vector<std::vector<Work>> work_;  // [K]
  std::vector<std::size_t> next_;        // [K]: the first work not yet timed
  std::vector<double> free_, busy_;      // [K]
  // By way: 0 along the chain, 1 back.
  std::array<std::vector<std::vector<Route>>, 2> routes_;
  std::array<std::vector<Input>, 2> inputs_;
  std::map<std::pair<std::size_t, std::size_t>, std::size_t> links_;
  std::vector<double> link_free_;
  std::vector<TimelineEntry> timeline_;
  double makespan_ = 0;
};

}  // namespace

Simulation simulate(const Schedule& schedule, const PipelineCosts& costs, bool with_timeline) {
  check_costs(schedule, costs);
  Simulation simulation = PaperStep(schedule, costs, with_timeline).run();
  check_time(simulation.makespan * static_cast<double>(costs.stages.size()), "whole step's");
  return simulation;
}

Simulation simulate_in_turn(const Schedule& schedule, const PipelineCosts& costs,
                            bool with_timeline) {
  return simulate_in_turn(schedule, one_at_a_time(schedule), costs, with_timeline);
}

Simulation simulate_in_turn(const Schedule& schedule, const std::vector<StageAction>& order,
                            const PipelineCosts& costs, bool with_timeline) {
  check_costs(schedule, costs);
  Simulation simulation{.busy = std::vector<double>(costs.stages.size(), 0),
                        .peak_in_flight = lamp::peak_in_flight(schedule)};
  const auto add = [&](std::size_t stage, WorkKind kind, int microbatch) {
    const double start = simulation.makespan;
    const double length = length_of(costs.stages[stage], kind);
    simulation.makespan += length;
    simulation.busy[stage] += length;
    if (with_timeline)
      simulation.timeline.push_back(
          {static_cast<int>(stage), kind, microbatch, start, simulation.makespan});
  };
  if (with_timeline) simulation.timeline.reserve(2 * order.size());
  for (const auto& [stage, action] : order) {
    if (action.kind == ActionKind::kBackward &&
        recomputes(rule_of(costs, stage), action.microbatch, schedule.microbatches))
      add(stage, WorkKind::kRecompute, action.microbatch);
    add(stage, work_kind(action.kind), action.microbatch);
  }
  check_time(simulation.makespan, "whole step's");
  simulation.utilisation =
      simulation.makespan > 0 ? 1 / static_cast<double>(costs.stages.size()) : 1;
  simulation.bubble = 1 - simulation.utilisation;
  return simulation;
}

Simulation by_slab(const Simulation& simulation, int slabs) {
  Simulation rows{.makespan = simulation.makespan,
                  .bubble = simulation.bubble,
                  .utilisation = simulation.utilisation};
  for (std::size_t j = 0; j < simulation.busy.size(); ++j)
    for (int slab = 0; slab < slabs; ++slab) {
      rows.busy.push_back(simulation.busy[j]);
      rows.peak_in_flight.push_back(simulation.peak_in_flight[j]);
    }
  for (const TimelineEntry& entry : simulation.timeline)
    for (int slab = 0; slab < slabs; ++slab) {
      TimelineEntry& row = rows.timeline.emplace_back(entry);
      row.stage = entry.stage * slabs + slab;
      if (entry.to_stage >= 0) row.to_stage = entry.to_stage * slabs + slab;
    }
  return rows;
}

}  // namespace lamp
