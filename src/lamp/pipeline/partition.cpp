// Exact min-max partition: the smallest limit under which filling stages greedily needs at most K
// of them.
#include "lamp/pipeline/partition.h"

#include <torch/types.h>

#include <algorithm>

#include "lamp/base/errors.h"
#include "lamp/base/setting_name.h"
#include "lamp/base/text.h"
#include "lamp/sequence/sequence.h"

namespace lamp {
namespace {

// Cuts so that no stage exceeds `limit`, leaving at least one link for each later stage; nothing if
// that is impossible.
std::vector<std::size_t> greedy_cuts(const std::vector<double>& costs, std::size_t stages,
                                     double limit) {
  std::vector<std::size_t> ends;
  std::size_t link = 0;
  for (std::size_t stage = 0; stage < stages; ++stage) {
    const std::size_t last_allowed = costs.size() - (stages - 1 - stage);
    double sum = 0;
    std::size_t end = link;
    while (end < last_allowed && (end == link || sum + costs[end] <= limit)) sum += costs[end++];
    if (sum > limit) return {};
    ends.push_back(end);
    link = end;
  }
  return link == costs.size() ? ends : std::vector<std::size_t>{};
}

Partition ranges(const std::vector<std::size_t>& ends) {
  Partition partition;
  std::size_t first = 0;
  for (const std::size_t end : ends) {
    partition.push_back({first, end});
    first = end;
  }
  return partition;
}

}  // namespace

void check_partition(const Partition& partition, std::size_t links, std::size_t devices) {
  if (partition.size() != devices)
    throw UsageError("a pipeline over " + counted(devices, "device") +
                     " needs as many stages, found a partition into " +
                     std::to_string(partition.size()));
  std::size_t next = 0;
  for (const StageRange& range : partition) {
    if (range.first != next || range.last <= range.first)
      throw UsageError(
          "a partition needs neighbouring stages of at least one layer, found layers " +
          std::to_string(range.first) + " to " + std::to_string(range.last) + " where " +
          std::to_string(next) + " is the next");
    next = range.last;
  }
  if (next != links)
    throw UsageError("the partition holds " + counted(next, "layer") + ", the chain " +
                     std::to_string(links));
}

Partition partition_by_counts(const std::vector<std::int64_t>& counts, std::size_t links) {
  std::vector<std::size_t> ends;
  std::int64_t sum = 0;
  for (const std::int64_t count : counts) {
    if (count < 1)
      throw UsageError(setting_name("execution.partition") + ": found a stage of " +
                       counted(count, "layer") + ", expected 1 or more");
    ends.push_back(static_cast<std::size_t>(sum += count));
  }
  if (ends.empty() || ends.back() != links) {
    throw UsageError(setting_name("execution.partition") + ": its stages add up to " +
                     counted(sum, "layer") + ", but the network has " + std::to_string(links) +
                     "; use auto to let it be cut for you");
  }
  return ranges(ends);
}

Partition partition_by_costs(const std::vector<double>& costs, std::size_t stages) {
  if (stages < 1 || costs.size() < stages) {
    throw UsageError("cannot cut " + counted(costs.size(), "layer") + " into " +
                     counted(stages, "stage") + "; use at most one device a layer");
  }
  // The bottleneck is the cost of some run of links: collect those sums and bisect over them.
  std::vector<double> candidates;
  for (std::size_t first = 0; first < costs.size(); ++first) {
    double sum = 0;
    for (std::size_t last = first; last < costs.size(); ++last)
      candidates.push_back(sum += costs[last]);
  }
  std::sort(candidates.begin(), candidates.end());
  const auto best = std::partition_point(candidates.begin(), candidates.end(), [&](double limit) {
    return greedy_cuts(costs, stages, limit).empty();
  });
  return ranges(greedy_cuts(costs, stages, best == candidates.end() ? candidates.back() : *best));
}

std::size_t stage_of(const Partition& partition, std::size_t link) {
  const auto found = std::find_if(partition.begin(), partition.end(),
                                  [link](const StageRange& range) { return link < range.last; });
  return static_cast<std::size_t>(found - partition.begin());
}

std::vector<double> parameter_bytes(const Sequence& chain) {
  std::vector<double> bytes;
  for (const auto& layer : chain.layers()) {
    double sum = 0;
    for (const auto& parameter : layer->parameters())
      sum += static_cast<double>(parameter.nbytes());
    bytes.push_back(sum);
  }
  return bytes;
}

std::vector<SkipTransfer> skip_transfers(const Sequence& chain, const Partition& partition) {
  std::vector<SkipTransfer> transfers;
  for (const Skip& skip : chain.skips()) {
    const std::size_t from = stage_of(partition, skip.from);
    const std::size_t to = stage_of(partition, skip.to);
    if (from != to) transfers.push_back({skip.name, from, to});
  }
  return transfers;
}

}  // namespace lamp
