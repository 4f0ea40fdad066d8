// Means over the seeds, and their spread.
#include "lamp/experiment/verdict.h"

#include <algorithm>

#include "lamp/base/text.h"

namespace lamp {
namespace {

std::vector<double> averages(const Results& results, const std::string& row) {
  std::vector<double> values;
  if (const auto found = results.dice.find(row); found != results.dice.end())
    for (const Json& cell : found->second)
      if (cell["average"].is_number()) values.push_back(100 * cell["average"].get<double>());
  return values;
}

double range_of(const std::vector<double>& values) {
  const auto [low, high] = std::minmax_element(values.begin(), values.end());
  return *high - *low;
}

Verdict judge_ranks(const std::vector<double>& first, const std::vector<double>& second) {
  const double worst = *std::min_element(first.begin(), first.end());
  const double best = *std::max_element(second.begin(), second.end());
  return {worst > best ? Verdict::kHolds : Verdict::kFails,
          "mean Dice " + fixed(mean_of(first), 1) + " against " + fixed(mean_of(second), 1) +
              " %, the lowest seed " + fixed(worst, 1) + " against the other's highest " +
              fixed(best, 1)};
}

// A claim about seeds needs all of them.
Verdict judge_dice(const Claim& claim, const Results& results) {
  const auto first = averages(results, claim.first), second = averages(results, claim.second);
  const std::size_t seeds = results.experiment.seeds.size();
  if (first.size() < seeds || second.size() < seeds) return {};
  if (claim.kind == Claim::kAhead) return judge_ranks(first, second);
  const double difference = mean_of(first) - mean_of(second);
  const double spread = std::max(range_of(first), range_of(second));
  const bool holds = claim.kind == Claim::kBetter ? difference > spread : difference >= -spread;
  return {holds ? Verdict::kHolds : Verdict::kFails,
          "mean Dice " + fixed(mean_of(first), 1) + " against " + fixed(mean_of(second), 1) +
              " %, largest less smallest over the seeds " + fixed(spread, 1)};
}

Verdict judge_seconds(const Claim& claim, const Results& results) {
  const auto first = results.timings.find(claim.first), second = results.timings.find(claim.second);
  if (first == results.timings.end() || second == results.timings.end()) return {};
  const double fast = mean_of(first->second["seconds"].get<std::vector<double>>());
  const double slow = mean_of(second->second["seconds"].get<std::vector<double>>());
  return {slow >= claim.times * fast ? Verdict::kHolds : Verdict::kFails,
          fixed(slow, 2) + " s against " + fixed(fast, 2) + " s: " + fixed(slow / fast, 2) +
              " times as fast, " + shortest(claim.times) + " were claimed"};
}

Verdict judge_control(const Claim& claim, const Results& results) {
  const auto found = results.control.find(claim.first);
  if (found == results.control.end()) return {};
  const Json& control = found->second;
  return {control["at_chance"].get<bool>() ? Verdict::kHolds : Verdict::kFails,
          "accuracy " + fixed(100 * control["accuracy"].get<double>(), 1) + " %, chance " +
              fixed(100 * control["chance"].get<double>(), 1) + " %, standard error " +
              fixed(100 * control["standard_error"].get<double>(), 1)};
}

}  // namespace

Verdict judge(const Claim& claim, const Results& results) {
  if (claim.kind == Claim::kFaster) return judge_seconds(claim, results);
  if (claim.kind == Claim::kChance) return judge_control(claim, results);
  return judge_dice(claim, results);
}

}  // namespace lamp
