// Every candidate under the best time so far.
#include "lamp/planner/plan.h"

#include <algorithm>
#include <tuple>
#include <utility>

#include "lamp/planner/fit.h"
#include "lamp/planner/gradient_transfer.h"
#include "lamp/planner/memory_model.h"
#include "lamp/planner/plan_candidates.h"
#include "lamp/planner/plan_words.h"

namespace lamp {
namespace {

struct Found {
  Candidate candidate;
  Balance balance;
  double total_s = 0;       // with the update
  double recomputed_s = 0;  // of all stages
};

double recomputed_s(const NetworkCosts& costs, const Candidate& candidate, const Balance& balance) {
  double seconds = 0;
  for (std::size_t j = 0; j < balance.partition.size(); ++j) {
    double forward = 0;
    for (std::size_t link = balance.partition[j].first; link < balance.partition[j].last; ++link)
      forward += costs.layers[link].forward_s;
    for (int i = 0; i < candidate.microbatches; ++i)
      if (recomputes(balance.recompute[j], i, candidate.microbatches)) seconds += forward;
  }
  return seconds;
}

bool better(const Found& a, const Found& b) {
  if (a.total_s < b.total_s * (1 - kTimeTolerance)) return true;
  if (a.total_s > b.total_s * (1 + kTimeTolerance)) return false;
  return std::tuple(a.recomputed_s, a.candidate.stages, a.balance.largest_peak_bytes) <
         std::tuple(b.recomputed_s, b.candidate.stages, b.balance.largest_peak_bytes);
}

// The simplest first; where there may be no time for all, those first whose cut into equal times is
// fastest.
std::vector<Candidate> in_order(Candidates& candidates) {
  constexpr std::size_t kFew = 64;
  std::vector<Candidate> all = candidates.all();
  if (all.size() <= kFew || candidates.request().has_cut()) return all;
  std::vector<std::pair<double, Candidate>> sketched;
  for (const Candidate& candidate : all) {
    const NetworkCosts& costs = candidates.costs(candidate);
    std::vector<double> seconds;
    for (const LayerCosts& layer : costs.layers)
      seconds.push_back(layer.forward_s + layer.backward_s);
    const auto cut = evaluate_partition(costs, candidates.setup(candidate),
                                        partition_by_costs(seconds, candidate.stages),
                                        candidates.request().recompute);
    sketched.emplace_back(cut ? cut->step_s + candidates.update_s(candidate)
                              : std::numeric_limits<double>::infinity(),
                          candidate);
  }
  std::stable_sort(sketched.begin(), sketched.end(),
                   [](const auto& a, const auto& b) { return a.first < b.first; });
  std::transform(sketched.begin(), sketched.end(), all.begin(),
                 [](const auto& entry) { return entry.second; });
  return all;
}

std::optional<Found> fastest(Candidates& candidates) {
  std::optional<Found> best;
  for (const Candidate& candidate : in_order(candidates)) {
    if (candidates.request().clock->is_too_late()) break;
    const double update = candidates.update_s(candidate);
    const double bound = best ? (best->total_s - update) * (1 + 2 * kTimeTolerance)
                              : std::numeric_limits<double>::infinity();
    auto cut = candidates.best_cut(candidate, bound);
    if (!cut) continue;
    Found found{candidate, std::move(*cut), 0, 0};
    found.total_s = found.balance.step_s + update;
    found.recomputed_s = recomputed_s(candidates.costs(candidate), candidate, found.balance);
    if (!best || better(found, *best)) best = std::move(found);
  }
  return best;
}

MemoryModel of_one_slab(const Plan& plan) {
  NetworkCosts costs = plan.costs;
  PipelineSetup setup = plan.setup;
  const std::size_t slabs = setup.slabs_on_device();
  if (slabs > 1) scale_planes(costs, 1 / static_cast<double>(slabs));
  setup.workers.clear();
  return {std::move(costs), std::move(setup)};
}

// `use`: of a layer and how many forwards it has in a step, with those of recomputation.
template <typename Use>
void for_each_layer(const Plan& plan, const Use& use) {
  const int m = plan.setup.microbatches;
  for (std::size_t j = 0; j < plan.balance.partition.size(); ++j) {
    int forwards = m;
    for (int i = 0; i < m; ++i) forwards += recomputes(plan.balance.recompute[j], i, m) ? 1 : 0;
    const StageRange& links = plan.balance.partition[j];
    for (std::size_t link = links.first; link < links.last; ++link)
      use(plan.costs.layers[link], forwards);
  }
}

Plan plan_of(const Found& found, Candidates& candidates) {
  Plan plan{.setup = candidates.setup(found.candidate),
            .costs = candidates.costs(found.candidate),
            .balance = found.balance};
  plan.simulation = simulate_with(plan, plan.costs);
  const MemoryModel memory = of_one_slab(plan);
  for (std::size_t j = 0; j < found.candidate.stages; ++j)
    plan.stage_peak_bytes.push_back(
        memory.stage_peak_bytes(j, plan.balance.partition[j], plan.balance.recompute[j]));
  plan.update_s = candidates.update_s(found.candidate);
  plan.merge_s = merge_seconds(plan.costs, plan.setup, plan.balance.partition, plan.simulation);
  return plan;
}

}  // namespace

Simulation simulate_with(const Plan& plan, const NetworkCosts& costs) {
  return simulate(
      plan.setup,
      make_schedule(plan.setup.schedule, static_cast<int>(plan.setup.stages()),
                    plan.setup.microbatches),
      pipeline_costs(costs, plan.setup, plan.balance.partition, plan.balance.recompute));
}

std::vector<DeviceNeed> device_needs(const Plan& plan) {
  const PipelineSetup& setup = plan.setup;
  const auto device_of = setup.device_of_stages();
  const auto& workers = setup.workers.empty() ? setup.devices : setup.workers;
  std::vector<DeviceNeed> needs;
  for (std::size_t row = 0; row < workers.size(); ++row)
    if (std::none_of(needs.begin(), needs.end(), [&](const DeviceNeed& known) {
          return known.device.name == workers[row].name;
        }))
      needs.push_back({workers[row],
                       setup.bytes_of_slab(plan.balance.peak_bytes[device_of[row / setup.slabs()]],
                                           row % setup.slabs_of_replica())});
  return needs;
}

std::int64_t slab_peak_bytes(const Plan& plan, std::size_t stage, std::size_t slab) {
  return plan.setup.bytes_of_slab(plan.stage_peak_bytes[stage], slab);
}

std::int64_t halo_bytes(const Plan& plan) {
  const int m = plan.setup.microbatches;
  double bytes = 0;
  for_each_layer(plan, [&](const LayerCosts& layer, int forwards) {
    bytes += static_cast<double>((forwards + (layer.returns_halo ? m : 0)) * layer.halo_bytes);
  });
  return static_cast<std::int64_t>(bytes * plan.setup.mean_share());
}

double exchange_s(const Plan& plan) {
  const int m = plan.setup.microbatches;
  double seconds = m * plan.costs.loss_exchange_s;
  for_each_layer(plan, [&](const LayerCosts& layer, int forwards) {
    seconds += forwards * layer.forward_exchange_s + m * layer.backward_exchange_s;
  });
  return seconds;
}

Plan make_plan(const PlanRequest& request, const CostProvider& costs) {
  Candidates candidates(request, costs);
  auto best = fastest(candidates);
  if (!best) {
    Fit least = least_fit(candidates);
    best = {least.candidate, std::move(least.balance), 0, 0};
    if (!least.fits) {
      Plan plan = plan_of(*best, candidates);
      plan.reasons = advice_for(plan, candidates, costs);
      return plan;
    }
  }
  Plan plan = plan_of(*best, candidates);
  plan.fits = true;
  plan.reasons = reasons_for(plan, candidates);
  return plan;
}

}  // namespace lamp
