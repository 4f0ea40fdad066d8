#include "lamp/planner/block_stream.h"

#include <gtest/gtest.h>

namespace lamp {
namespace {

TEST(BlockStreamTest, ReproducesBothThroughputsOfAppendixB) {
  EXPECT_DOUBLE_EQ(simulate_stream(conventional_blocks(), 3, 120, 1).batches_per_unit, 1.0 / 2);
  EXPECT_DOUBLE_EQ(simulate_stream(lamp_blocks(), 3, 120, 1).batches_per_unit, 3.0 / 4);
}

TEST(BlockStreamTest, EveryBlockOfABatchHasTheSameLengthInBothRows) {
  for (const auto& blocks : {conventional_blocks(), lamp_blocks()}) {
    for (const char* name : {"e1", "e2", "d2", "d1"}) {
      int ticks = 0;
      for (const Block& block : blocks)
        if (block.name == name) ticks += block.ticks;
      EXPECT_EQ(ticks, kTicksPerUnit) << name;
    }
  }
}

TEST(BlockStreamTest, DrawsItsFirstTicks) {
  EXPECT_EQ(simulate_stream({{"a", 0, 1}, {"b", 1, 2}}, 2, 4, 5).timetable,
            "0  a.0 a.1 a.2 a.3 .\n"
            "1  .   b.0 b.0 b.1 b.1\n");
}

}  // namespace
}  // namespace lamp
