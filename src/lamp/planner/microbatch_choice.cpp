// A sketch for each number: one cut, no search, so that no clock has a say.
#include "lamp/planner/microbatch_choice.h"

#include <algorithm>
#include <map>

#include "lamp/planner/fit.h"
#include "lamp/planner/plan_candidates.h"

namespace lamp {
namespace {

// Nothing if it does not fit.
std::optional<double> sketched_s(Candidates& candidates, const Candidate& candidate) {
  const NetworkCosts& costs = candidates.costs(candidate);
  auto cut = candidates.cut(candidate);
  if (!cut) {
    std::vector<double> seconds;
    for (const LayerCosts& layer : costs.layers)
      seconds.push_back(layer.forward_s + layer.backward_s);
    cut = partition_by_costs(seconds, candidate.stages);
  }
  const auto balance = candidates.evaluate(candidate, *cut);
  if (!balance) return std::nullopt;
  return balance->step_s;
}

}  // namespace

int steady_microbatches(const PlanRequest& wish, const CostProvider& costs) {
  PlanRequest request = wish;
  if (!request.schedule)
    request.schedule = ScheduleKind::k1F1B;  // as fast as gpipe, in less memory
  Candidates candidates(request, costs);
  std::map<int, double> fastest_s;  // by number
  for (const Candidate& candidate : candidates.all()) {
    const auto seconds = sketched_s(candidates, candidate);
    if (!seconds) continue;
    const auto [known, is_new] = fastest_s.emplace(candidate.microbatches, *seconds);
    if (!is_new) known->second = std::min(known->second, *seconds);
  }
  if (fastest_s.empty()) return least_fit(candidates).candidate.microbatches;
  const auto best = std::min_element(fastest_s.begin(), fastest_s.end(),
                                     [](auto& a, auto& b) { return a.second < b.second; });
  const double enough = best->second * (1 + kWorthOfMicrobatches);
  return std::find_if(fastest_s.begin(), fastest_s.end(),
                      [&](const auto& entry) { return entry.second <= enough; })
      ->first;
}

}  // namespace lamp
