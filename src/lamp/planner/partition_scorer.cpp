// Rules first, then memory, then time.
#include "lamp/planner/partition_scorer.h"

#include <array>

namespace lamp {
namespace {

constexpr std::array kRules = {RecomputeRule::kNever, RecomputeRule::kExceptLast,
                               RecomputeRule::kAlways};

std::vector<RecomputeRule> rules_from(const std::optional<RecomputeRule>& fixed) {
  return fixed ? std::vector{*fixed} : std::vector(kRules.begin(), kRules.end());
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
      devices_(setup.distinct_devices()),
      device_of_(setup.device_of_stages()) {}

// A device over its limit, or the number of devices.
std::size_t PartitionScorer::fullest(const std::vector<std::int64_t>& peaks) const {
  std::size_t device = 0;
  while (device < devices_.size() && peaks[device] <= devices_[device].memory_bytes) ++device;
  return device;
}

// One stage of the device recomputes more: the one that frees most.
bool PartitionScorer::relieve(std::size_t device, const Partition& partition,
                              std::vector<RecomputeRule>& recompute,
                              std::vector<std::int64_t>& peaks) const {
  const auto before = recompute;
  const std::int64_t peak = peaks[device];
  std::int64_t least = peak;
  for (std::size_t j = 0; j < before.size(); ++j) {
    const auto at = std::find(rules_.begin(), rules_.end(), before[j]);
    if (device_of_[j] != device) continue;
    for (auto next = at; next != rules_.end() && ++next != rules_.end();) {
      auto changed = before;
      changed[j] = *next;
      const auto now = memory_.device_peak_bytes(partition, changed);
      if (now[device] >= least) continue;
      least = now[device];
      recompute = changed;
      peaks = now;
      break;
    }
  }
  return least < peak;
}

std::optional<Balance> PartitionScorer::score(const Partition& partition,
                                              std::vector<RecomputeRule> recompute) const {
  Balance result{.partition = partition};
  result.peak_bytes = memory_.device_peak_bytes(partition, recompute);
  for (std::size_t over; (over = fullest(result.peak_bytes)) < devices_.size();) {
    result.proven = false;  // that no other choice of rules would be faster
    if (!relieve(over, partition, recompute, result.peak_bytes)) return std::nullopt;
  }
  result.step_s = step_s(partition, recompute);
  result.recompute = std::move(recompute);
  result.largest_peak_bytes = *std::max_element(result.peak_bytes.begin(), result.peak_bytes.end());
  return result;
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
  auto result = scorer.score(partition, rules);
  if (result) {
    result->lower_bound_s = result->step_s;
    result->simulations = 1;
    result->proven = true;
  }
  return result;
}

}  // namespace lamp
