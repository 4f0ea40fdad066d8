// Ends a training run from outside, politely and not, at moments it does not choose.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <fstream>
#include <thread>
#include <vector>

#include "lamp/base/random.h"
#include "support/ball_dataset.h"
#include "support/run_program.h"

namespace lamp::testing {
namespace {

using ::testing::HasSubstr;
namespace fs = std::filesystem;

class InterruptionTest : public ::testing::Test {
 protected:
  InterruptionTest() {
    write_ball_dataset(folder_ / "data", 4);
    Json config = ball_config();
    config["curriculum"][0]["epochs"] = 20;
    config["curriculum"][1]["epochs"] = 10;
    std::ofstream(folder_ / "config.json") << config.dump();
  }

  std::string arguments(const std::string& run) const {
    return "train -q --resume -d '" + (folder_ / "data").string() + "' -c '" +
           (folder_ / "config.json").string() + "' -o '" + (folder_ / run).string() + "'";
  }

  // A run writes this right before its first batch, on a slow machine late.
  void wait_for_the_first_batch(const std::string& run) const {
    for (int tenths = 0; tenths < 600 && !fs::exists(folder_ / run / "plan.json"); ++tenths)
      std::this_thread::sleep_for(std::chrono::milliseconds(100));
  }

  // Starts training, sends `signal` after `delay`, or that long after the first batch has begun,
  // and returns the wait status.
  int train_and_signal(const std::string& run, int signal, std::chrono::milliseconds delay,
                       bool begun = false) {
    std::string command = "exec '" LAMP_PROGRAM "' " + arguments(run) + " 2>/dev/null";
    std::vector<char*> argv = {const_cast<char*>("/bin/sh"), const_cast<char*>("-c"),
                               command.data(), nullptr};
    pid_t child = 0;
    EXPECT_EQ(posix_spawn(&child, "/bin/sh", nullptr, nullptr, argv.data(), environ), 0);
    if (begun) wait_for_the_first_batch(run);
    std::this_thread::sleep_for(delay);
    kill(child, signal);
    int status = 0;
    waitpid(child, &status, 0);
    return status;
  }

  TemporaryFolder folder_;
};

TEST_F(InterruptionTest, ARunKilledAtRandomMomentsEndsBitIdentical) {
  ASSERT_EQ(run_lamp(arguments("whole")).exit_code, 0);
  Random random{2026};
  int kills = 0;
  for (int round = 0; round < 8; ++round) {
    const int status =
        train_and_signal("killed", SIGKILL, std::chrono::milliseconds(150 + random.below(900)));
    if (WIFSIGNALED(status)) ++kills;
  }
  EXPECT_GE(kills, 2);
  ASSERT_EQ(run_lamp(arguments("killed")).exit_code, 0);
  for (const char* file : {"last.safetensors", "best.safetensors"}) {
    EXPECT_EQ(text_of(folder_ / "whole" / file), text_of(folder_ / "killed" / file)) << file;
  }
}

TEST_F(InterruptionTest, SigintAndSigtermSaveAndExitWithTheirCodes) {
  for (const int signal : {SIGINT, SIGTERM}) {
    const std::string run = "stopped" + std::to_string(signal);
    const int status = train_and_signal(run, signal, std::chrono::milliseconds(300), true);
    ASSERT_TRUE(WIFEXITED(status));
    // A fast machine may have finished; then there was nothing to stop.
    if (WEXITSTATUS(status) != 0) {
      EXPECT_EQ(WEXITSTATUS(status), 128 + signal);
      EXPECT_TRUE(fs::exists(folder_ / run / "state" / "state.safetensors"));
    }
    EXPECT_EQ(run_lamp(arguments(run)).exit_code, 0);
  }
}

// A terminal that closes; under nohup it is none of the program's business.
TEST_F(InterruptionTest, AClosedTerminalSavesAsSigtermDoes) {
  const int status = train_and_signal("closed", SIGHUP, std::chrono::milliseconds(300), true);
  ASSERT_TRUE(WIFEXITED(status));
  if (WEXITSTATUS(status) != 0) {
    EXPECT_EQ(WEXITSTATUS(status), 128 + SIGTERM);
    EXPECT_TRUE(fs::exists(folder_ / "closed" / "state" / "state.safetensors"));
  }
  EXPECT_EQ(run_lamp(arguments("closed")).exit_code, 0);
  const auto before = std::signal(SIGHUP, SIG_IGN);
  const int ignored = train_and_signal("nohup", SIGHUP, std::chrono::milliseconds(300), true);
  std::signal(SIGHUP, before);
  EXPECT_TRUE(WIFEXITED(ignored));
  EXPECT_EQ(WEXITSTATUS(ignored), 0);
}

}  // namespace
}  // namespace lamp::testing
