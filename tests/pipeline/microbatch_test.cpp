#include "lamp/pipeline/microbatch.h"

#include <gtest/gtest.h>
#include <torch/types.h>

#include "lamp/base/log.h"

namespace lamp {
namespace {

TEST(MicroBatchTest, GivesExactlyAsManyPartsAsAskedAndSizesDifferByAtMostOne) {
  set_log_level(LogLevel::kError);
  for (std::int64_t samples = 1; samples <= 20; ++samples) {
    for (std::int64_t parts = 1; parts <= 20; ++parts) {
      const auto split = split_batch(samples, parts);
      ASSERT_EQ(static_cast<std::int64_t>(split.size()), std::min(samples, parts));
      std::int64_t next = 0;
      for (const MicroBatch& part : split) {
        ASSERT_EQ(part.first, next);
        ASSERT_GE(part.count, split.back().count);
        ASSERT_LE(part.count, split.back().count + 1);
        next += part.count;
      }
      ASSERT_EQ(next, samples);
    }
  }
}

TEST(MicroBatchTest, GatherUndoesScatter) {
  const torch::Tensor batch = torch::arange(30).reshape({5, 6});
  EXPECT_TRUE(torch::equal(gather(scatter(batch, split_batch(5, 4))), batch));
  EXPECT_THROW(split_batch(0, 1), c10::Error);
}

}  // namespace
}  // namespace lamp
