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
  // Rules under which everything fits, if there are any; fills all figures but the bound.
  std::optional<Balance> score(const Partition& partition,
                               std::vector<RecomputeRule> recompute) const;
  const std::vector<RecomputeRule>& rules() const { return rules_; }

 private:
  std::size_t fullest(const std::vector<std::int64_t>& peaks) const;
  bool relieve(std::size_t device, const Partition& partition,
               std::vector<RecomputeRule>& recompute, std::vector<std::int64_t>& peaks) const;

  const NetworkCosts& costs_;
  const PipelineSetup& setup_;
  std::vector<RecomputeRule> rules_;
  MemoryModel memory_;
  Schedule schedule_;
  std::vector<PlanDevice> devices_;
  std::vector<std::size_t> device_of_;
};

}  // namespace lamp
