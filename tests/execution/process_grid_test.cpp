// A grid over several processes takes the steps of the same grid in one, to the last bit: losses,
// gradient norms, bytes, and each stage's weights and running statistics after three steps
// (grid_worker.cpp compares).
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "lamp/processes/launch.h"
#include "processes/process_group.h"

namespace lamp {
namespace {

using ::testing::HasSubstr;
using testing::ProcessGroup;

constexpr double kMostSeconds = 240;

void expect_same_steps(const std::string& part, int world) {
  ProcessGroup group(part, world);
  group.start_all();
  for (int rank = 0; rank < world; ++rank)
    EXPECT_EQ(group.wait(rank, kMostSeconds), 0) << rank << ": " << group.error(rank);
}

TEST(ProcessGridTest, TwoStagesStepAsInOneProcess) { expect_same_steps("stages", 2); }
TEST(ProcessGridTest, TwoSlabsStepAsInOneProcess) { expect_same_steps("slabs", 2); }
TEST(ProcessGridTest, TwoReplicasStepAsInOneProcess) { expect_same_steps("replicas", 2); }
TEST(ProcessGridTest, RecomputationAndDeferredNormsStepAlike) { expect_same_steps("rules", 2); }
TEST(ProcessGridTest, StagesOfSlabsStepAsInOneProcess) { expect_same_steps("square", 4); }
TEST(ProcessGridTest, ReplicasOfGridsStepAsInOneProcess) {
  expect_same_steps("replicas_of_grids", 4);
}

TEST(ProcessGridTest, AFailureInAStepEndsAllWithItsPlace) {
  ProcessGroup group("fail", 2);
  group.start_all();
  const std::string cause = "made to fail (in stage 1, layer ";
  for (int rank = 0; rank < 2; ++rank) {
    EXPECT_EQ(group.wait(rank), 1);
    EXPECT_THAT(group.error(rank), HasSubstr(cause)) << rank;
    EXPECT_THAT(group.error(rank), HasSubstr("micro-batch 1)")) << rank;
  }
  EXPECT_THAT(group.error(0), HasSubstr("rank 1 on " + host_name() + ": made to fail"));
}

}  // namespace
}  // namespace lamp
