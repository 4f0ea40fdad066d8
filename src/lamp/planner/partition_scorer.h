// A partition turned into numbers: what must be recomputed so that it fits, what it holds, how long
// its step takes in simulation. No torch here.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include "lamp/planner/balance.h"
#include "lamp/planner/memory_model.h"

namespace lamp {

struct Score {
  std::optional<Balance>
      balance;        // all figures but the bound; nothing if the partition does not fit
  bool exact = true;  // whether no other choice of rules that fits is faster
};

// Costs and setup must outlive it.
class PartitionScorer {
 public:
  PartitionScorer(const NetworkCosts& costs, const PipelineSetup& setup,
                  const std::optional<RecomputeRule>& fixed);

  bool has_own_device(std::size_t stage) const {
    return std::count(device_of_.begin(), device_of_.end(), device_of_[stage]) == 1;
  }
  // The first rule under which a stage alone on its device fits, and its bytes.
  std::optional<std::pair<RecomputeRule, std::int64_t>> fitting(std::size_t stage,
                                                                const StageRange& links) const {
    if (!has_own_device(stage)) return std::pair(rules_.front(), std::int64_t{0});
    for (const RecomputeRule rule : rules_) {
      const std::int64_t bytes = memory_.stage_peak_bytes(stage, links, rule);
      if (bytes <= setup_.devices[stage].memory_bytes) return std::pair(rule, bytes);
    }
    return std::nullopt;
  }
  double step_s(const Partition& partition, const std::vector<RecomputeRule>& recompute) const {
    return simulate(setup_, schedule_, pipeline_costs(costs_, setup_, partition, recompute), false)
        .makespan;
  }
  // Under the given rules, which are those of fitting(); where stages share a device that does not
  // hold them together so, under the rules with which it does and which cost least time. Those that
  // take longer than `longest_s` are of no interest.
  Score score(const Partition& partition, const std::vector<RecomputeRule>& recompute,
              double longest_s) const;

  // Whether it fits or not.
  Balance figures(const Partition& partition, const std::vector<RecomputeRule>& recompute) const;

 private:
  using Rules = std::vector<RecomputeRule>;
  bool fits(const Partition& partition, const Rules& recompute) const {
    return setup_.over_bytes(memory_.device_peak_bytes(partition, recompute)) <= 0;
  }
  std::vector<Rules> all_rules(std::size_t stages) const;
  std::optional<Balance> best_of(const Partition& partition, const std::vector<Rules>& choices,
                                 double longest_s) const;
  std::optional<Rules> relieved(const Partition& partition, Rules recompute) const;

  const NetworkCosts& costs_;
  const PipelineSetup& setup_;
  std::vector<RecomputeRule> rules_;
  MemoryModel memory_;
  Schedule schedule_;
  std::vector<std::size_t> device_of_;
};

}  // namespace lamp
