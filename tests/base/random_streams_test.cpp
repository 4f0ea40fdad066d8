// The table of random streams: each value once, and none changed.
#include "lamp/base/random_streams.h"

#include <gtest/gtest.h>

#include "lamp/base/random.h"

namespace lamp {
namespace {

// Does not compile with two streams of one value, and warns of a new one that is not here.
std::uint64_t value_of(RandomStream stream) {
  switch (stream) {
    case kBatchOrderStream:
      return 1;
    case kBatchPatchStream:
      return 2;
    case kBatchAugmentStream:  // and kCaseSplitStream, whose keys are shorter
      return 3;
    case kLayerStream:
      return 11;
    case kHideStream:
      return 0x68696465;
    case kProbeOrderStream:
      return 0x6f726465;
    case kProbePatchStream:
      return 0x70726f62;
    case kPrepareSplitStream:
      return 0x73706c6974;
  }
  return 0;
}

TEST(RandomStreamsTest, KeepTheirValues) {
  for (const RandomStream stream :
       {kBatchOrderStream, kBatchPatchStream, kBatchAugmentStream, kLayerStream, kCaseSplitStream,
        kHideStream, kProbeOrderStream, kProbePatchStream, kPrepareSplitStream})
    EXPECT_EQ(std::uint64_t{stream}, value_of(stream));
}

TEST(RandomStreamsTest, AShorterKeyGivesOtherNumbers) {
  const std::uint64_t split = Random{7, kCaseSplitStream}.bits();
  for (std::uint64_t stage = 0; stage < 3; ++stage)
    for (std::uint64_t step = 0; step < 100; ++step)
      EXPECT_NE((Random{7, kBatchAugmentStream, stage, step, 0}.bits()), split);
}

}  // namespace
}  // namespace lamp
