// The best cut of a chain into K stages: the one whose simulated step is shortest among those that
// fit every device's memory; among equals the one whose fullest device holds the least.
//
// A simulated makespan is no sum over stages, so dynamic programming alone cannot find its minimum.
// It gives a lower bound for every open end of a partition instead (stage_bounds.h), and a search
// that follows the smallest bound first simulates only what may still win. Exact, unless
// `most_simulations` or `enough` ends it, or of four stages and more some share a device that does
// not hold them without recomputation, so that their rules are guessed: then `proven` is false and
// `lower_bound_s` says how much could be missing at most.
//
// Source: docs/engine.md, "The planner". No torch here.
#pragma once

#include <cstdint>
#include <functional>
#include <limits>
#include <optional>
#include <vector>

#include "lamp/planner/pipeline_setup.h"

namespace lamp {

struct BalanceOptions {
  // The same for every stage; none = for each stage the first of never, except_last and always
  // under which it fits.
  std::optional<RecomputeRule> recompute;
  // Only partitions whose step is shorter are of interest.
  double upper_bound_s = std::numeric_limits<double>::infinity();
  int most_simulations = 100000;
  // Asked between simulations; from true on the search ends with the best so far.
  std::function<bool()> enough;
};

struct Balance {
  Partition partition;
  std::vector<RecomputeRule> recompute;  // [K]
  double step_s = 0;                     // simulated
  std::vector<std::int64_t> peak_bytes;  // by distinct device
  std::int64_t largest_peak_bytes = 0;
  double lower_bound_s = 0;  // no partition that fits is faster
  bool proven = true;
  int simulations = 0;
};

// Nothing if no partition into as many stages as devices fits (or beats the upper bound).
std::optional<Balance> balance(const NetworkCosts& costs, const PipelineSetup& setup,
                               const BalanceOptions& options = {});

// The same figures for a partition given by hand; nothing if it does not fit.
std::optional<Balance> evaluate_partition(const NetworkCosts& costs, const PipelineSetup& setup,
                                          const Partition& partition,
                                          const std::optional<RecomputeRule>& recompute = {});

// And under given rules, one a stage, whether it fits or not.
Balance evaluate_rules(const NetworkCosts& costs, const PipelineSetup& setup,
                       const Partition& partition, const std::vector<RecomputeRule>& rules);

// Two times that differ by less count as equal, as sums in another order do.
constexpr double kTimeTolerance = 1e-9;

}  // namespace lamp
