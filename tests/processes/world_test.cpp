// Worlds of real processes on this machine: what travels, and how they meet and part.
#include "lamp/processes/world.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <iterator>
#include <thread>

#include "lamp/processes/meeting_point.h"
#include "lamp/processes/same_everywhere.h"
#include "processes/process_group.h"

namespace lamp {
namespace {

using testing::free_port;
using ::testing::HasSubstr;
using testing::ProcessGroup;

TEST(WorldTest, TwoProcessesPassTensorsAsTheyAre) {
  ProcessGroup group("pair", 2);
  group.start_all();
  group.expect_all_done();
}

TEST(WorldTest, FourProcessesExchangeTextsAndSlabs) {
  ProcessGroup group("four", 4);
  group.start_all();
  group.expect_all_done();
}

TEST(WorldTest, RanksLeaveWheneverTheyAreDone) {
  ProcessGroup group("leave", 3, {{"LAMP_TEST_SILENT", "0.6"}});
  group.start_all();
  group.expect_all_done();
}

TEST(WorldTest, AWaitMayLastLongerThanTheConnecting) {
  ProcessGroup group("long", 2, {{"LAMP_TEST_CONNECT", "4"}});
  group.start_all();
  group.expect_all_done();
}

TEST(WorldTest, AnotherVersionEndsAllWithItsName) {
  ProcessGroup group("compare", 3);
  group.start(0);
  group.start(1);
  group.start(2, {{"LAMP_TEST_VERSION", "0.1.0"}});
  for (int rank = 0; rank < 3; ++rank) {
    EXPECT_EQ(group.wait(rank), kExitUsage);
    EXPECT_THAT(group.error(rank), HasSubstr("rank 2 on " + host_name() +
                                             ": program version: found 0.1.0, rank 0 has 0.2.0"));
  }
}

TEST(WorldTest, NonsenseIsRefusedWithRankAndRoute) {
  ProcessGroup group("nonsense", 2);
  group.start_all();
  const std::string expected = "rank 0 on " + host_name() +
                               ", for the activation from stage 0 to 1 of micro-batch 0, sent "
                               "something that is no tensor";
  for (int rank = 0; rank < 2; ++rank) {
    EXPECT_EQ(group.wait(rank), kExitRuntime);
    EXPECT_THAT(group.error(rank), HasSubstr(expected));
  }
}

TEST(WorldTest, ATakenPortIsOneLineThatSaysSo) {
  ProcessGroup group("texts", 2, {{"LAMP_TEST_CONNECT", "1"}});
  const int taken = bound_socket("127.0.0.1", group.port(), false);
  group.start_all();
  EXPECT_EQ(group.wait(0), kExitRuntime);
  EXPECT_THAT(group.error(0),
              HasSubstr("127.0.0.1:" + std::to_string(group.port()) + ": the port is taken"));
  EXPECT_EQ(group.wait(1), kExitRuntime);  // whoever took it answers nothing
  for (int rank = 0; rank < 2; ++rank) {
    const std::string text = group.error(rank);
    EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 1) << text;
    EXPECT_THAT(text, HasSubstr("MASTER_PORT"));
  }
  close(taken);
}

TEST(WorldTest, AnAddressThatDoesNotAnswerEndsInTime) {
  ProcessGroup group("texts", 2, {{"LAMP_TEST_CONNECT", "1"}});
  group.start(1);
  EXPECT_EQ(group.wait(1, 10), kExitRuntime);
  EXPECT_THAT(group.error(1), HasSubstr("no answer from rank 0 at 127.0.0.1:" +
                                        std::to_string(group.port()) + ": Connection refused"));
}

TEST(WorldTest, RanksThatDoNotComeAreNamed) {
  ProcessGroup group("texts", 4, {{"LAMP_TEST_CONNECT", "1.5"}});
  group.start(0);
  group.start(2);
  EXPECT_EQ(group.wait(0, 10), kExitRuntime);
  EXPECT_THAT(group.error(0),
              HasSubstr("rank 1, rank 3 of 4 processes did not come to 127.0.0.1:"));
  EXPECT_EQ(group.wait(2, 10), kExitRuntime);
}

TEST(WorldTest, TwoProcessesOfOneNumberAreToldSo) {
  ProcessGroup group("texts", 3, {{"LAMP_TEST_CONNECT", "2"}});
  ProcessGroup strangers(
      "texts", 3, {{"MASTER_PORT", std::to_string(group.port())}, {"LAMP_TEST_CONNECT", "2"}});
  group.start(0);
  group.start(1);
  std::this_thread::sleep_for(std::chrono::milliseconds(1000));
  strangers.start(1);
  EXPECT_EQ(strangers.wait(1), kExitRuntime);
  EXPECT_THAT(strangers.error(1), HasSubstr("rank 1 has come to 127.0.0.1:"));
}

std::ptrdiff_t open_files() {
  return std::distance(std::filesystem::directory_iterator("/proc/self/fd"), {});
}

void join_and_leave(int rank, int port, int round) {
  const auto world = World::join({.rank = rank,
                                  .world = 2,
                                  .local_world = 2,
                                  .address = "127.0.0.1",
                                  .port = port,
                                  .host = "here",
                                  .launcher = "test",
                                  .restart_count = round});
  const torch::Tensor number = torch::full({1000}, rank);
  if (rank == 0) world->send(number, 1, kFirstTag);
  if (rank == 1) world->receive_into(number, 0, kFirstTag);
  EXPECT_EQ(number.sum().item<float>(), 0);
}

TEST(WorldTest, TwoHundredWorldsLeaveNoFileOpen) {
  std::ptrdiff_t before = 0;
  for (int round = 0; round < 201; ++round) {
    if (round == 1) before = open_files();
    const int port = free_port();
    std::thread other(join_and_leave, 1, port, round);
    join_and_leave(0, port, round);
    other.join();
  }
  EXPECT_EQ(open_files(), before);
}

TEST(SameEverywhereTest, TheFirstDifferenceIsNamed) {
  const NamedTexts own = {{"program version", "0.2.0"}, {"configuration", "abc"}};
  EXPECT_EQ(first_difference(own, own), "");
  EXPECT_EQ(first_difference(own, {{"program version", "0.2.0"}, {"configuration", "abd"}}),
            "configuration: found abd, rank 0 has abc");
  EXPECT_EQ(first_difference(own, {{"program version", "0.2.0"}}),
            "found no configuration, rank 0 has one");
  EXPECT_EQ(first_difference({}, own), "found program version, rank 0 has none");
}

}  // namespace
}  // namespace lamp
