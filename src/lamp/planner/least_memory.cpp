// Min-max over cuts, from the last stage backwards.
#include "lamp/planner/least_memory.h"

#include <algorithm>
#include <array>

#include "lamp/base/errors.h"
#include "lamp/planner/memory_model.h"

namespace lamp {
namespace {

constexpr std::array kRules = {RecomputeRule::kNever, RecomputeRule::kExceptLast,
                               RecomputeRule::kAlways};

struct Choice {
  std::int64_t bytes = std::numeric_limits<std::int64_t>::max();  // of the fullest from here on
  std::size_t last = 0;
  RecomputeRule rule = RecomputeRule::kNever;
};

}  // namespace

Balance least_memory_balance(const NetworkCosts& costs, const PipelineSetup& setup,
                             const std::optional<RecomputeRule>& recompute) {
  const std::size_t links = costs.layers.size(), stages = setup.stages();
  if (stages < 1 || stages > links)
    throw UsageError("cannot cut " + std::to_string(links) + " layers into " +
                     std::to_string(stages) + " stages; use at most one device a layer");
  const MemoryModel memory(costs, setup);
  std::vector<std::vector<Choice>> choices(stages + 1, std::vector<Choice>(links + 1));
  choices[stages][links].bytes = 0;
  for (std::size_t j = stages; j-- > 0;) {
    for (std::size_t first = j; first < links && (j > 0 || first == 0); ++first) {
      Choice& here = choices[j][first];
      for (std::size_t last = first + 1; last + (stages - 1 - j) <= links; ++last) {
        const std::int64_t rest = choices[j + 1][last].bytes;
        if (rest >= here.bytes) continue;
        for (const RecomputeRule rule : kRules) {
          if (recompute && rule != *recompute) continue;
          const std::int64_t bytes =
              std::max(rest, memory.stage_peak_bytes(j, {first, last}, rule));
          if (bytes < here.bytes) here = {bytes, last, rule};
        }
      }
    }
  }
  Partition partition;
  std::vector<RecomputeRule> rules;
  for (std::size_t j = 0, first = 0; j < stages; ++j) {
    const Choice& choice = choices[j][first];
    partition.push_back({first, choice.last});
    rules.push_back(choice.rule);
    first = choice.last;
  }
  Balance result{.partition = partition, .recompute = rules};
  result.peak_bytes = memory.device_peak_bytes(partition, rules);
  result.largest_peak_bytes = *std::max_element(result.peak_bytes.begin(), result.peak_bytes.end());
  result.step_s =
      simulate(setup, make_schedule(setup.schedule, static_cast<int>(stages), setup.microbatches),
               pipeline_costs(costs, setup, partition, rules), false)
          .makespan;
  result.lower_bound_s = result.step_s;
  return result;
}

}  // namespace lamp
