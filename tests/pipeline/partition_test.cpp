#include "lamp/pipeline/partition.h"

#include <gtest/gtest.h>
#include <torch/types.h>

#include <algorithm>
#include <numeric>

#include "lamp/base/errors.h"
#include "lamp/base/random.h"
#include "lamp/sequence/module_layer.h"
#include "lamp/sequence/sequence.h"
#include "lamp/sequence/skip_layers.h"

namespace lamp {
namespace {

double bottleneck(const std::vector<double>& costs, const Partition& partition) {
  double worst = 0;
  for (const StageRange& range : partition)
    worst = std::max(worst,
                     std::accumulate(costs.begin() + range.first, costs.begin() + range.last, 0.0));
  return worst;
}

// Every way to cut costs[first...] into `stages` non-empty runs.
double best_by_trying(const std::vector<double>& costs, std::size_t first, std::size_t stages) {
  if (stages == 1) return std::accumulate(costs.begin() + first, costs.end(), 0.0);
  double best = 1e300;
  double sum = 0;
  for (std::size_t cut = first + 1; cut + stages - 1 <= costs.size(); ++cut) {
    sum += costs[cut - 1];
    best = std::min(best, std::max(sum, best_by_trying(costs, cut, stages - 1)));
  }
  return best;
}

TEST(PartitionTest, TheDearestStageIsAsCheapAsTryingEverythingCanMakeIt) {
  Random random{5};
  for (int round = 0; round < 300; ++round) {
    std::vector<double> costs(static_cast<std::size_t>(1 + random.below(9)));
    for (double& cost : costs)
      cost = random.below(4) == 0 ? 0 : static_cast<double>(random.below(20));
    const auto stages =
        static_cast<std::size_t>(1 + random.below(static_cast<std::int64_t>(costs.size())));
    const Partition partition = partition_by_costs(costs, stages);
    ASSERT_EQ(partition.size(), stages);
    std::size_t next = 0;
    for (const StageRange& range : partition) {
      ASSERT_EQ(range.first, next);
      ASSERT_GT(range.last, range.first);
      next = range.last;
    }
    ASSERT_EQ(next, costs.size());
    ASSERT_DOUBLE_EQ(bottleneck(costs, partition), best_by_trying(costs, 0, stages));
  }
}

TEST(PartitionTest, KnownCase) {
  EXPECT_EQ(partition_by_costs({1, 2, 3, 4, 5, 6}, 2), (Partition{{0, 4}, {4, 6}}));
}

TEST(PartitionTest, CountsMustCoverTheChain) {
  EXPECT_EQ(partition_by_counts({2, 1}, 3), (Partition{{0, 2}, {2, 3}}));
  EXPECT_THROW(partition_by_counts({2, 2}, 3), UsageError);
  EXPECT_THROW(partition_by_counts({3, 0}, 3), UsageError);
  EXPECT_THROW(partition_by_costs({1, 1}, 3), UsageError);
}

TEST(PartitionTest, SkipsTravelOnlyBetweenDifferentStages) {
  const auto identity = [] { return as_layer([](torch::Tensor x) { return x * 1; }); };
  const Sequence chain({{"a", std::make_shared<StashSkip>("outer")},
                        {"b", std::make_shared<StashSkip>("inner")},
                        {"c", identity()},
                        {"d", std::make_shared<ConcatSkip>("inner")},
                        {"e", std::make_shared<ConcatSkip>("outer")}});
  EXPECT_EQ(skip_transfers(chain, {{0, 1}, {1, 4}, {4, 5}}),
            (std::vector<SkipTransfer>{{"outer", 0, 2}}));
  EXPECT_TRUE(skip_transfers(chain, {{0, 5}}).empty());
}

}  // namespace
}  // namespace lamp
