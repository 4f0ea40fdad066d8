// Min-max over cuts, from the last stage backwards.
#include "lamp/planner/least_memory.h"

#include <algorithm>
#include <utility>

#include "lamp/base/errors.h"
#include "lamp/base/text.h"
#include "lamp/planner/memory_model.h"

namespace lamp {
namespace {

constexpr int kLeastTries = 20;
constexpr double kReplayedActions = 1e6;  // replayed at the most by a search, a second or less

struct Choice {
  std::int64_t over = std::numeric_limits<std::int64_t>::max();  // of the worst from here on
  std::size_t last = 0;
  RecomputeRule rule = RecomputeRule::kNever;
};

class LeastMemory {
 public:
  LeastMemory(const NetworkCosts& costs, const PipelineSetup& setup,
              const std::optional<RecomputeRule>& recompute,
              const std::optional<Partition>& partition)
      : setup_(setup),
        memory_(costs, setup),
        links_(costs.layers.size()),
        given_(partition),
        rules_(recompute ? std::vector{*recompute}
                         : std::vector(kRecomputeRules.begin(), kRecomputeRules.end())) {
    take_alone();
    if (setup.distinct_devices().size() < setup.stages()) improve();
  }

  Balance result() const {
    Balance result{.partition = partition_, .recompute = recompute_};
    result.peak_bytes = memory_.device_peak_bytes(partition_, recompute_);
    result.largest_peak_bytes =
        *std::max_element(result.peak_bytes.begin(), result.peak_bytes.end());
    return result;
  }

 private:
  void choose(std::size_t stage, const StageRange& links, std::int64_t rest, Choice& best) const {
    for (const RecomputeRule rule : rules_) {
      const std::int64_t over = std::max(
          rest, memory_.stage_peak_bytes(stage, links, rule) - setup_.devices[stage].memory_bytes);
      if (over < best.over) best = {over, links.last, rule};
    }
  }

  // As if every stage had its device to itself.
  void take_alone() {
    const std::size_t stages = setup_.stages();
    std::vector<std::vector<Choice>> choices(stages + 1, std::vector<Choice>(links_ + 1));
    choices[stages][links_].over = std::numeric_limits<std::int64_t>::lowest();
    for (std::size_t j = stages; j-- > 0;) {
      for (std::size_t first = j; first < links_ && (j > 0 || first == 0); ++first) {
        if (given_ && first != (*given_)[j].first) continue;
        Choice& here = choices[j][first];
        for (std::size_t last = first + 1; last + (stages - 1 - j) <= links_; ++last) {
          const std::int64_t rest = choices[j + 1][last].over;
          if (rest < here.over) choose(j, {first, last}, rest, here);
        }
      }
    }
    for (std::size_t j = 0, first = 0; j < stages; ++j) {
      const Choice& choice = choices[j][first];
      partition_.push_back({first, choice.last});
      recompute_.push_back(choice.rule);
      first = choice.last;
    }
  }

  std::int64_t over(const Partition& partition, const std::vector<RecomputeRule>& rules) const {
    return setup_.over_bytes(memory_.device_peak_bytes(partition, rules));
  }

  bool take_if_better(Partition partition, std::vector<RecomputeRule> rules) {
    if (tries_left_ <= 0) return false;
    --tries_left_;
    const std::int64_t now = over(partition, rules);
    if (now >= least_) return false;
    least_ = now;
    partition_ = std::move(partition);
    recompute_ = std::move(rules);
    return true;
  }

  bool move_cut(std::size_t j) {
    bool moved = false;
    const std::size_t first = partition_[j].first, end = partition_[j + 1].last;
    for (std::size_t cut = first + 1; cut < end; ++cut) {
      Partition changed = partition_;
      changed[j].last = changed[j + 1].first = cut;
      moved = take_if_better(std::move(changed), recompute_) || moved;
    }
    return moved;
  }

  bool change_rule(std::size_t j) {
    bool changed = false;
    for (const RecomputeRule rule : rules_) {
      auto rules = recompute_;
      rules[j] = rule;
      changed = take_if_better(partition_, std::move(rules)) || changed;
    }
    return changed;
  }

  void improve() {
    const double actions = 2.0 * static_cast<double>(setup_.stages()) * setup_.microbatches;
    tries_left_ = std::max(kLeastTries, static_cast<int>(kReplayedActions / actions));
    least_ = over(partition_, recompute_);
    take_if_better(partition_, std::vector(partition_.size(), rules_.back()));
    for (bool better = true; better;) {
      better = false;
      for (std::size_t j = 0; j < partition_.size(); ++j) better = change_rule(j) || better;
      for (std::size_t j = 0; j + 1 < partition_.size() && !given_; ++j)
        better = move_cut(j) || better;
    }
  }

  const PipelineSetup& setup_;
  MemoryModel memory_;
  std::size_t links_;
  const std::optional<Partition>& given_;
  std::vector<RecomputeRule> rules_;
  Partition partition_;
  std::vector<RecomputeRule> recompute_;
  std::int64_t least_ = 0;
  int tries_left_ = 0;  // a number and not a time, so that the same is found everywhere
};

}  // namespace

Balance least_memory_balance(const NetworkCosts& costs, const PipelineSetup& setup,
                             const std::optional<RecomputeRule>& recompute,
                             const std::optional<Partition>& partition) {
  const std::size_t links = costs.layers.size(), stages = setup.stages();
  if (stages < 1 || stages > links)
    throw UsageError("cannot cut " + counted(links, "layer") + " into " + counted(stages, "stage") +
                     "; use at most one device a layer");
  Balance result = LeastMemory(costs, setup, recompute, partition).result();
  result.step_s =
      simulate(setup, make_schedule(setup.schedule, static_cast<int>(stages), setup.microbatches),
               pipeline_costs(costs, setup, result.partition, result.recompute), false)
          .makespan;
  result.proven = false;
  return result;
}

}  // namespace lamp
