// Processes that fail, die or stop: all others end soon, with the same line.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "lamp/processes/world.h"
#include "processes/process_group.h"

namespace lamp {
namespace {

using ::testing::HasSubstr;
using testing::ProcessGroup;

constexpr double kEndsWithin = 5;  // seconds, as users are promised

std::string name_of(int rank) { return "rank " + std::to_string(rank) + " on " + host_name(); }

// All but `rank` end within `seconds`, each with one line that names it.
void expect_others_end(ProcessGroup& group, int world, int rank, int exit_code,
                       const std::string& what, double seconds = kEndsWithin) {
  for (int other = 0; other < world; ++other) {
    if (other == rank) continue;
    EXPECT_EQ(group.wait(other, seconds), exit_code) << "rank " << other;
    const std::string text = group.error(other);
    EXPECT_THAT(text, HasSubstr(name_of(rank) + ": " + what)) << "rank " << other;
    EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 1) << text;
  }
}

class KilledRankTest : public ::testing::TestWithParam<int> {};

TEST_P(KilledRankTest, EndsAllWhoWaitWithItsName) {
  ProcessGroup group("wait", 4);
  group.start_all();
  group.wait_until_ready();
  std::this_thread::sleep_for(std::chrono::milliseconds(500));  // it has told where it is
  group.signal(GetParam(), SIGKILL);
  // What rank 0 has told goes with it, but for what others have read.
  expect_others_end(group, 4, GetParam(), kExitRuntime,
                    GetParam() == 0 ? "lost" : "lost in step 41 (its process");
}

INSTANTIATE_TEST_SUITE_P(Ranks, KilledRankTest, ::testing::Values(0, 1, 3));

TEST(LostProcessTest, AKilledOneIsNoticedThoughNobodyWaitsForIt) {
  for (const int rank : {0, 1}) {
    ProcessGroup group("compute", 3);
    group.start_all();
    group.wait_until_ready();
    group.signal(rank, SIGKILL);
    expect_others_end(group, 3, rank, kExitRuntime, "lost");
  }
}

TEST(LostProcessTest, AStoppedOneIsSilent) {
  for (const int rank : {0, 2}) {
    ProcessGroup group("wait", 3, {{"LAMP_TEST_SILENT", "1.5"}});
    group.start_all();
    group.wait_until_ready();
    group.signal(rank, SIGSTOP);
    expect_others_end(group, 3, rank, kExitRuntime, "silent for 1.5 s", 1.5 + kEndsWithin);
    group.signal(rank, SIGCONT);
    EXPECT_EQ(group.wait(rank, kEndsWithin), kExitRuntime);
  }
}

TEST(LostProcessTest, AFailureEndsAllWithItsCauseAndCode) {
  ProcessGroup group("wait", 4, {{"LAMP_TEST_FAILS", "cannot read image.nii.gz"}});
  group.start_all();
  group.wait_until_ready();
  expect_others_end(group, 4, 1, kExitInput, "cannot read image.nii.gz");
  EXPECT_EQ(group.wait(1, kEndsWithin), kExitInput);
  EXPECT_EQ(group.error(1), "cannot read image.nii.gz\n");
}

TEST(LostProcessTest, AnExceptionThatLeavesTheWorldEndsAll) {
  ProcessGroup group("unwind", 3);
  group.start_all();
  EXPECT_EQ(group.wait(1, 20), kExitRuntime);
  expect_others_end(group, 3, 1, kExitRuntime, "ended before the run was over");
}

// The launcher keeps the store, and starts all ranks again at the same address.
TEST(LostProcessTest, RanksAreStartedAgainOverTheLaunchersStore) {
  ProcessGroup agent("keep", 1);
  agent.start(0);
  agent.wait_until_ready();
  const ProcessGroup::Variables variables = {{"MASTER_PORT", std::to_string(agent.port())},
                                             {"TORCHELASTIC_RUN_ID", "run"},
                                             {"TORCHELASTIC_USE_AGENT_STORE", "True"}};
  ProcessGroup first("wait", 2, variables);
  first.start_all();
  first.wait_until_ready();
  first.signal(0, SIGKILL);
  expect_others_end(first, 2, 0, kExitRuntime, "lost");
  ProcessGroup::Variables again = variables;
  again["TORCHELASTIC_RESTART_COUNT"] = "1";
  ProcessGroup second("compute", 2, again);
  second.start_all();
  second.wait_until_ready();
  agent.signal(0, SIGKILL);
  for (int rank = 0; rank < 2; ++rank) {
    EXPECT_EQ(second.wait(rank, kEndsWithin), kExitRuntime);
    EXPECT_THAT(second.error(rank),
                HasSubstr("rank 0 on " + host_name() + ": its launcher's store at 127.0.0.1:" +
                          std::to_string(agent.port()) + " lost"));
  }
}

TEST(LostProcessTest, WhoLeavesWhileOthersWaitIsNamed) {
  ProcessGroup group("early", 2);
  group.start_all();
  EXPECT_EQ(group.wait(1, 20), kExitOk);
  expect_others_end(group, 2, 1, kExitRuntime, "left the run while rank 0 waited for it");
}

}  // namespace
}  // namespace lamp
