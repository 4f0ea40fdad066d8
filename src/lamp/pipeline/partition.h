// Where a chain is cut: K contiguous, non-empty stages, by hand or by a cost for each link. No
// torch here, so that the planner can compare cuts by the million.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace lamp {

class Sequence;

// Links [first, last) of the chain.
struct StageRange {
  std::size_t first;
  std::size_t last;
  bool contains(std::size_t link) const { return link >= first && link < last; }
  bool operator==(const StageRange&) const = default;
};
using Partition = std::vector<StageRange>;

// Throws UsageError unless the partition has a stage for each device and its ranges, none of them
// empty, follow one another from the chain's first link to its last.
void check_partition(const Partition& partition, std::size_t links, std::size_t devices);

// Links a stage, such as [5, 7, 9]. Throws UsageError if a number is not positive or they do not
// add up to `links`.
Partition partition_by_counts(const std::vector<std::int64_t>& counts, std::size_t links);

// The contiguous partition whose dearest stage is cheapest (exact, by bisection over the achievable
// bottlenecks), ties broken towards earlier cuts. costs: one non-negative number a link. Throws
// UsageError if there are fewer links than stages.
Partition partition_by_costs(const std::vector<double>& costs, std::size_t stages);

// The stage that the link lies on.
std::size_t stage_of(const Partition& partition, std::size_t link);

std::vector<double> parameter_bytes(const Sequence& chain);

// A skip whose two ends lie on different stages.
struct SkipTransfer {
  std::string name;
  std::size_t from_stage;
  std::size_t to_stage;
  bool operator==(const SkipTransfer&) const = default;
};

// Which skip travels from which stage to which, in the order of stashing; skips inside a stage
// never move.
std::vector<SkipTransfer> skip_transfers(const Sequence& chain, const Partition& partition);

}  // namespace lamp
