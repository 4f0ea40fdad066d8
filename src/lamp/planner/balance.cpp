// Tables by stage and range first, then two tables over open ends, then the search.
#include "lamp/planner/balance.h"

#include <algorithm>
#include <utility>

#include "lamp/base/errors.h"
#include "lamp/base/text.h"
#include "lamp/planner/partition_scorer.h"
#include "lamp/planner/stage_bounds.h"

namespace lamp {
namespace {

constexpr double kNever = std::numeric_limits<double>::infinity();
class Search {
 public:
  Search(const NetworkCosts& costs, const PipelineSetup& setup, const BalanceOptions& options);
  std::optional<Balance> run();

 private:
  struct Cell {
    bool fits = false;
    RecomputeRule rule = RecomputeRule::kNever;
    std::int64_t bytes = 0;
    StageBound bound;
  };
  // The least that stages from here to the end of the chain can do.
  struct Open {
    double bound = kNever;  // round trips; never = nothing fits
    double one_way = kNever;
    double transfers = kNever;                   // their sum
    double forward = kNever, backward = kNever;  // of further micro-batches: stage_bounds.h
    std::int64_t bytes = std::numeric_limits<std::int64_t>::max();  // of the fullest
  };
  struct Node {
    std::size_t stage = 0;
    std::size_t first = 0;
    double bound = 0;                  // of the stages before
    double transfers = 0;              // into this one
    double forward = 0, backward = 0;  // of further micro-batches
    std::int64_t bytes = 0;
  };
  struct Child {
    double bound;
    Node node;
  };

  const Cell& cell(std::size_t stage, const StageRange& links) const {
    return cells_[(stage * links_ + links.first) * (links_ + 1) + links.last];
  }
  const Open& open(std::size_t stage, std::size_t first) const {
    return open_[stage * (links_ + 1) + first];
  }
  void fill_cells();
  void fill_open(double longest);
  double whole_chain(double transfers, double further) const;
  std::pair<double, double> further(const Cell& stage, double transfer) const;
  double bound_of(const Node& node) const;
  bool hopeless(double bound, std::int64_t bytes) const;
  bool is_over();
  void consider(const Partition& partition);
  void consider_known_cuts();
  bool move_cuts(std::size_t j, std::size_t other, int by, int other_by);
  void improve();
  void descend(const Node& node);
  std::vector<Child> children(const Node& node) const;
  std::vector<RecomputeRule> rules_of(const Partition& partition) const;

  const NetworkCosts& costs_;
  const PipelineSetup& setup_;
  const BalanceOptions& options_;
  std::size_t links_, stages_;
  PartitionScorer scorer_;
  StageBounds bounds_;
  std::vector<Cell> cells_;  // [K][links][links + 1]
  std::vector<Open> open_;   // [K + 1][links + 1]
  Partition partial_;
  std::optional<Balance> best_;
  double fastest_s_;           // of all considered, or the upper bound
  double unknown_s_ = kNever;  // the fastest that partitions whose rules were guessed may be
  int simulations_ = 0;
  bool complete_ = true;
};

Search::Search(const NetworkCosts& costs, const PipelineSetup& setup, const BalanceOptions& options)
    : costs_(costs),
      setup_(setup),
      options_(options),
      links_(costs.layers.size()),
      stages_(setup.stages()),
      scorer_(costs, setup, options.recompute),
      bounds_(costs, setup),
      fastest_s_(options.upper_bound_s) {
  fill_cells();
}

void Search::fill_cells() {
  cells_.resize(stages_ * links_ * (links_ + 1));
  for (std::size_t j = 0; j < stages_; ++j) {
    for (std::size_t first = j; first < links_; ++first) {
      for (std::size_t last = first + 1; last + (stages_ - 1 - j) <= links_; ++last) {
        if ((j == 0) != (first == 0) || (j + 1 == stages_) != (last == links_)) continue;
        const auto fitting = scorer_.fitting(j, {first, last});
        if (!fitting) continue;
        const auto [rule, bytes] = *fitting;
        cells_[(j * links_ + first) * (links_ + 1) + last] = {
            true, rule, bytes, bounds_.seconds(j, {first, last}, rule)};
      }
    }
  }
}

// Only with stages whose bound is at most `longest`.
void Search::fill_open(double longest) {
  open_.assign((stages_ + 1) * (links_ + 1), Open{});
  open_[stages_ * (links_ + 1) + links_] = {0, 0, 0, 0, 0, 0};
  for (std::size_t j = stages_; j-- > 0;) {
    for (std::size_t first = 0; first < links_; ++first) {
      Open& here = open_[j * (links_ + 1) + first];
      for (std::size_t last = first + 1; last <= links_; ++last) {
        const Cell& stage = cell(j, {first, last});
        const Open& rest = open(j + 1, last);
        if (!stage.fits || rest.bound == kNever) continue;
        const double transfer = j + 1 < stages_ ? bounds_.transfer_s(j, last) : 0;
        const double round_trip = stage.bound.round_trip(transfer + rest.transfers);
        if (std::max(round_trip, stage.bound.one_way) > longest) continue;
        here.bound = std::min(here.bound, std::max(round_trip, 2 * transfer + rest.bound));
        const auto [forward, backward] = further(stage, transfer);
        here.forward = std::min(here.forward, std::max(forward, rest.forward));
        here.backward = std::min(here.backward, std::max(backward, rest.backward));
        here.one_way = std::min(here.one_way, std::max(stage.bound.one_way, rest.one_way));
        here.transfers = std::min(here.transfers, transfer + rest.transfers);
        here.bytes = std::min(here.bytes, std::max(stage.bytes, rest.bytes));
      }
    }
  }
}

// What micro-batches after the first add at least to forwards and backwards, by one stage and the
// transfer behind it.
std::pair<double, double> Search::further(const Cell& stage, double transfer) const {
  if (setup_.schedule == ScheduleKind::kNaive) return {0, 0};
  const double more = bounds_.more_transfers_s(transfer);
  return {std::max(stage.bound.forward, more),
          bounds_.forwards_first() ? std::max(stage.bound.backward, more) : 0};
}

double Search::whole_chain(double transfers, double further) const {
  const double rounds = setup_.schedule == ScheduleKind::kNaive ? setup_.microbatches : 1;
  return rounds * (bounds_.chain_s() + 2 * transfers) + further;
}

double Search::bound_of(const Node& node) const {
  const Open& rest = open(node.stage, node.first);
  return std::max(
      {node.bound, 2 * node.transfers + rest.bound,
       whole_chain(node.transfers + rest.transfers,
                   std::max(node.forward, rest.forward) + std::max(node.backward, rest.backward))});
}

// Neither faster than what is known, nor as fast with less memory.
bool Search::hopeless(double bound, std::int64_t bytes) const {
  if (bound > fastest_s_ * (1 + kTimeTolerance)) return true;
  if (bound < fastest_s_ * (1 - kTimeTolerance)) return false;
  return !best_ || bytes >= best_->largest_peak_bytes;
}

bool Search::is_over() {
  if (simulations_ < options_.most_simulations && !(options_.enough && options_.enough()))
    return false;
  complete_ = false;
  return true;
}

std::vector<RecomputeRule> Search::rules_of(const Partition& partition) const {
  std::vector<RecomputeRule> rules;
  for (std::size_t j = 0; j < stages_; ++j) rules.push_back(cell(j, partition[j]).rule);
  return rules;
}

void Search::consider(const Partition& partition) {
  for (std::size_t j = 0; j < stages_; ++j)
    if (!cell(j, partition[j]).fits) return;
  ++simulations_;
  const auto rules = rules_of(partition);
  const double longest = fastest_s_ * (1 + kTimeTolerance);
  const double least = scorer_.step_s(partition, rules);  // more recomputation takes longer
  if (least > longest) return;
  const auto [score, exact] = scorer_.score(partition, rules, longest);
  if (!exact) unknown_s_ = std::min(unknown_s_, least);
  if (!score || score->step_s > longest) return;
  const bool faster = score->step_s < fastest_s_ * (1 - kTimeTolerance);
  if (faster || (best_ && score->largest_peak_bytes < best_->largest_peak_bytes)) best_ = score;
  if (best_) fastest_s_ = std::min(fastest_s_, score->step_s);
}

// What others would cut by, as a start: seconds, and bytes.
void Search::consider_known_cuts() {
  std::vector<double> seconds, bytes;
  for (const LayerCosts& layer : costs_.layers) {
    seconds.push_back(layer.forward_s + layer.backward_s);
    bytes.push_back(static_cast<double>(layer.saved_bytes + 3 * layer.parameter_bytes));
  }
  consider(partition_by_costs(seconds, stages_));
  consider(partition_by_costs(bytes, stages_));
}

// Whether the cuts behind stages j and other may stand elsewhere to advantage.
bool Search::move_cuts(std::size_t j, std::size_t other, int by, int other_by) {
  Partition changed = best_->partition;
  const auto move = [&](std::size_t stage, int links) {
    changed[stage].last += static_cast<std::size_t>(links);
    changed[stage + 1].first = changed[stage].last;
  };
  move(j, by);
  if (other != j) move(other, other_by);
  for (const StageRange& range : changed)
    if (range.first >= range.last || range.last > links_) return false;
  const double before = best_->step_s;
  consider(changed);
  return best_->step_s < before * (1 - kTimeTolerance);
}

// Moves one cut or two at a time while that helps: where the search is too long to finish, its
// result is at least that good.
void Search::improve() {
  constexpr int kFarthest = 4;
  for (bool moved = best_.has_value(); moved;) {
    moved = false;
    for (std::size_t j = 0; j + 1 < stages_ && !(options_.enough && options_.enough()); ++j)
      for (std::size_t other = j; other + 1 < stages_; ++other)
        for (int by = -kFarthest; by <= kFarthest; ++by)
          for (int other_by = -kFarthest; other_by <= kFarthest; ++other_by)
            if (other != j || other_by == 0) moved = move_cuts(j, other, by, other_by) || moved;
  }
}

std::vector<Search::Child> Search::children(const Node& node) const {
  std::vector<Child> result;
  for (std::size_t last = node.first + 1; last <= links_; ++last) {
    const Cell& stage = cell(node.stage, {node.first, last});
    if (!stage.fits) continue;
    const Open& rest = open(node.stage + 1, last);
    if (rest.bound == kNever) continue;
    const double transfer = node.stage + 1 < stages_ ? bounds_.transfer_s(node.stage, last) : 0;
    const double round_trip = stage.bound.round_trip(transfer + rest.transfers);
    const auto [forward, backward] = further(stage, transfer);
    const Node next{
        .stage = node.stage + 1,
        .first = last,
        .bound = std::max({node.bound, 2 * node.transfers + round_trip, stage.bound.one_way}),
        .transfers = node.transfers + transfer,
        .forward = std::max(node.forward, forward),
        .backward = std::max(node.backward, backward),
        .bytes = std::max(node.bytes, stage.bytes)};
    result.push_back({bound_of(next), next});
  }
  std::stable_sort(result.begin(), result.end(), [](const Child& a, const Child& b) {
    return std::pair(a.bound, a.node.bytes) < std::pair(b.bound, b.node.bytes);
  });
  return result;
}

void Search::descend(const Node& node) {
  if (node.stage == stages_) {
    consider(partial_);
    return;
  }
  for (const auto& [bound, next] : children(node)) {
    if (bound > fastest_s_ * (1 + kTimeTolerance)) return;  // so are all that follow
    if (hopeless(bound, std::max(next.bytes, open(next.stage, next.first).bytes))) continue;
    if (is_over()) return;
    partial_.push_back({node.first, next.first});
    descend(next);
    partial_.pop_back();
  }
}

std::optional<Balance> Search::run() {
  fill_open(kNever);
  const double bound = bound_of({});
  if (bound == kNever || bound > fastest_s_) return std::nullopt;
  consider_known_cuts();
  improve();
  if (best_) fill_open(fastest_s_ * (1 + kTimeTolerance));
  descend({});
  if (!best_) return std::nullopt;
  if (!complete_) improve();
  best_->lower_bound_s = complete_ ? std::min(best_->step_s, unknown_s_) : bound;
  best_->proven = complete_ && unknown_s_ >= best_->step_s * (1 - kTimeTolerance);
  best_->simulations = simulations_;
  return best_;
}

}  // namespace

std::optional<Balance> balance(const NetworkCosts& costs, const PipelineSetup& setup,
                               const BalanceOptions& options) {
  if (setup.stages() < 1 || setup.stages() > costs.layers.size())
    throw UsageError("cannot cut " + counted(costs.layers.size(), "layer") + " into " +
                     counted(setup.stages(), "stage") + "; use at most one device a layer");
  return Search(costs, setup, options).run();
}

}  // namespace lamp
