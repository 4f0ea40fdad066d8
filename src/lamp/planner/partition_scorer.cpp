// Rules first, then memory, then time.
#include "lamp/planner/partition_scorer.h"

#include <limits>

namespace lamp {
namespace {

constexpr std::size_t kMostChoices = 27;  // of rules: three stages

std::vector<RecomputeRule> rules_from(const std::optional<RecomputeRule>& fixed) {
  return fixed ? std::vector{*fixed} : std::vector(kRecomputeRules.begin(), kRecomputeRules.end());
}

}  // namespace

PartitionScorer::PartitionScorer(const NetworkCosts& costs, const PipelineSetup& setup,
                                 const std::optional<RecomputeRule>& fixed)
    : costs_(costs),
      setup_(setup),
      rules_(rules_from(fixed)),
      memory_(costs, setup),
      schedule_(
          make_schedule(setup.schedule, static_cast<int>(setup.stages()), setup.microbatches)),
      device_of_(setup.device_of_stages()) {}

// Every choice for all stages, since those with a device of their own decide on when the others
// hold how much; nothing if there are too many.
std::vector<PartitionScorer::Rules> PartitionScorer::all_rules(std::size_t stages) const {
  std::vector<Rules> choices = {Rules(stages)};
  for (std::size_t j = 0; j < stages; ++j) {
    if (choices.size() * rules_.size() > kMostChoices) return {};
    std::vector<Rules> longer;
    for (const Rules& choice : choices) {
      for (const RecomputeRule rule : rules_) {
        longer.push_back(choice);
        longer.back()[j] = rule;
      }
    }
    choices = std::move(longer);
  }
  return choices;
}

// The fastest that fits, among equals the one that holds least.
std::optional<Balance> PartitionScorer::best_of(const Partition& partition,
                                                const std::vector<Rules>& choices,
                                                double longest_s) const {
  std::vector<std::pair<double, const Rules*>> by_time;
  for (const Rules& rules : choices)
    if (const double time = step_s(partition, rules); time <= longest_s)
      by_time.emplace_back(time, &rules);
  std::stable_sort(by_time.begin(), by_time.end(),
                   [](const auto& a, const auto& b) { return a.first < b.first; });
  std::optional<Balance> best;
  for (const auto& [time, rules] : by_time) {
    if (best && time > best->step_s * (1 + kTimeTolerance)) break;
    if (!fits(partition, *rules)) continue;
    Balance found = figures(partition, *rules);
    if (!best || found.largest_peak_bytes < best->largest_peak_bytes) best = std::move(found);
  }
  return best;
}

// One stage after another of those that share devices recomputes more: the one that frees most of
// what is too much.
std::optional<PartitionScorer::Rules> PartitionScorer::relieved(const Partition& partition,
                                                                Rules recompute) const {
  const auto over = [&](const Rules& rules) {
    return setup_.over_bytes(memory_.device_peak_bytes(partition, rules));
  };
  Rules most = recompute;
  for (std::size_t j = 0; j < most.size(); ++j)
    if (!has_own_device(j)) most[j] = rules_.back();
  for (std::int64_t least = over(recompute); least > 0;) {
    Rules better = recompute;
    for (std::size_t j = 0; j < recompute.size(); ++j) {
      if (has_own_device(j)) continue;
      for (auto next = std::find(rules_.begin(), rules_.end(), recompute[j]) + 1;
           next < rules_.end(); ++next) {
        Rules changed = recompute;
        changed[j] = *next;
        if (const std::int64_t now = over(changed); now < least) {
          least = now;
          better = std::move(changed);
        }
      }
    }
    if (better == recompute) return over(most) <= 0 ? std::optional(most) : std::nullopt;
    recompute = std::move(better);
  }
  return recompute;
}

Balance PartitionScorer::figures(const Partition& partition, const Rules& recompute) const {
  Balance result{.partition = partition, .recompute = recompute};
  result.peak_bytes = memory_.device_peak_bytes(partition, recompute);
  result.largest_peak_bytes = *std::max_element(result.peak_bytes.begin(), result.peak_bytes.end());
  result.step_s = step_s(partition, recompute);
  return result;
}

Score PartitionScorer::score(const Partition& partition,
                             const std::vector<RecomputeRule>& recompute, double longest_s) const {
  if (fits(partition, recompute)) return {figures(partition, recompute)};
  const auto choices = all_rules(partition.size());
  if (!choices.empty()) return {best_of(partition, choices, longest_s)};
  const auto relief = relieved(partition, recompute);
  return {relief ? std::optional(figures(partition, *relief)) : std::nullopt, false};
}

std::optional<Balance> evaluate_partition(const NetworkCosts& costs, const PipelineSetup& setup,
                                          const Partition& partition,
                                          const std::optional<RecomputeRule>& recompute) {
  const PartitionScorer scorer(costs, setup, recompute);
  std::vector<RecomputeRule> rules;
  for (std::size_t j = 0; j < partition.size(); ++j) {
    const auto fitting = scorer.fitting(j, partition[j]);
    if (!fitting) return std::nullopt;
    rules.push_back(fitting->first);
  }
  auto result = scorer.score(partition, rules, std::numeric_limits<double>::infinity()).balance;
  if (result) {
    result->lower_bound_s = result->step_s;
    result->simulations = 1;
  }
  return result;
}

Balance evaluate_rules(const NetworkCosts& costs, const PipelineSetup& setup,
                       const Partition& partition, const std::vector<RecomputeRule>& rules) {
  Balance result = PartitionScorer(costs, setup, {}).figures(partition, rules);
  result.lower_bound_s = result.step_s;
  result.simulations = 1;
  return result;
}

}  // namespace lamp
