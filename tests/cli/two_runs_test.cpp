// Two processes with one run folder, and runs that were killed: through the program itself.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <fstream>
#include <thread>
#include <vector>

#include "support/ball_dataset.h"
#include "support/folder_contents.h"
#include "support/run_program.h"

namespace lamp::testing {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
namespace fs = std::filesystem;

class TwoRunsTest : public ::testing::Test {
 protected:
  TwoRunsTest() {
    write_ball_dataset(folder_ / "data", 4);
    write_config(1, 1);
  }

  void write_config(int first_epochs, int second_epochs) {
    Json config = ball_config();
    config["curriculum"][0]["epochs"] = first_epochs;
    config["curriculum"][1]["epochs"] = second_epochs;
    std::ofstream(folder_ / "config.json") << config.dump();
  }
  std::string arguments(const std::string& run, const std::string& more = "") const {
    return "train -d '" + (folder_ / "data").string() + "' -c '" +
           (folder_ / "config.json").string() + "' -o '" + (folder_ / run).string() + "' " + more;
  }
  // Starts the program; its messages go to the file.
  pid_t start(const std::string& run, const std::string& more, const std::string& messages) {
    std::string command = "exec '" LAMP_PROGRAM "' " + arguments(run, more) + " 2>'" +
                          (folder_ / messages).string() + "'";
    std::vector<char*> argv = {const_cast<char*>("/bin/sh"), const_cast<char*>("-c"),
                               command.data(), nullptr};
    pid_t child = 0;
    EXPECT_EQ(posix_spawn(&child, "/bin/sh", nullptr, nullptr, argv.data(), environ), 0);
    return child;
  }
  static int code_of(pid_t child) {
    int status = 0;
    waitpid(child, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  }
  // Until the run holds `file`, for a minute at most.
  void wait_for(const std::string& run, const char* file) {
    for (int i = 0; i < 6000 && !fs::exists(folder_ / run / file); ++i)
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    ASSERT_TRUE(fs::exists(folder_ / run / file)) << file;
  }

  TemporaryFolder folder_;
};

// Twenty times two starts in the same moment, each with a configuration of its own. Whichever wins,
// the folder holds that one's run and nothing of the other.
TEST_F(TwoRunsTest, OfTwoStartsAtOnceOneTrainsAndTheOtherIsRefused) {
  for (int round = 0; round < 20; ++round) {
    const std::string run = "run" + std::to_string(round);
    const std::vector<std::string> seeds = {"11", "22"};
    std::vector<pid_t> children;
    for (const std::string& seed : seeds)
      children.push_back(start(run, "--seed " + seed, "err" + seed));
    std::vector<int> codes;
    for (const pid_t child : children) codes.push_back(code_of(child));
    // The later one may also come when the other has saved or ended: then there is a run already.
    ASSERT_EQ((codes[0] == 0) + (codes[1] == 0), 1) << codes[0] << " " << codes[1];
    const std::size_t winner = codes[0] == 0 ? 0 : 1;
    EXPECT_THAT(text_of(folder_ / ("err" + seeds[1 - winner])),
                ::testing::AnyOf(HasSubstr("in use"), HasSubstr("already holds a run")));
    EXPECT_EQ(read_json(folder_ / run / "config.json")["seed"].dump(), seeds[winner]);
    EXPECT_FALSE(fs::exists(folder_ / run / "lock"));
  }
}

TEST_F(TwoRunsTest, ASecondProcessIsToldWhoTrainsAndChangesNothing) {
  write_config(400, 1);
  const pid_t first = start("run", "--set checkpoint.every_seconds=1000", "first");
  wait_for("run", "train.log");
  for (const char* more : {"", "--resume", "--resume --seed 5"}) {
    const auto config = text_of(folder_ / "run" / "config.json");
    const ProgramResult second = run_lamp(arguments("run", more));
    EXPECT_EQ(second.exit_code, 1) << second.err;
    EXPECT_THAT(second.err,
                AllOf(HasSubstr("in use"), HasSubstr("process " + std::to_string(first))));
    EXPECT_EQ(text_of(folder_ / "run" / "config.json"), config);
  }
  kill(first, SIGTERM);
  EXPECT_EQ(code_of(first), 143);
  EXPECT_FALSE(fs::exists(folder_ / "run" / "lock"));
}

TEST_F(TwoRunsTest, AKilledRunsLockIsTakenOverWithALine) {
  write_config(400, 1);
  const pid_t first = start("run", "", "first");
  wait_for("run", "state/state.safetensors");
  kill(first, SIGKILL);
  code_of(first);
  ASSERT_TRUE(fs::exists(folder_ / "run" / "lock"));
  // What a kill in the middle of writing leaves.
  std::ofstream(folder_ / "run" / (".last." + std::to_string(first) + "-7.tmp.safetensors")) << "x";
  // Refused: all is left as it was, the stale lock, too.
  const auto before = contents_of(folder_ / "run");
  EXPECT_EQ(run_lamp(arguments("run", "--resume --seed 9")).exit_code, 2);
  EXPECT_EQ(contents_of(folder_ / "run"), before);
  const ProgramResult resumed = run_lamp(
      "train --resume -o '" + (folder_ / "run").string() + "' --set curriculum.0.epochs=401",
      "timeout -s TERM 5");
  EXPECT_THAT(resumed.err, HasSubstr("taking over"));
  EXPECT_THAT(resumed.err, HasSubstr(std::to_string(first)));
  EXPECT_FALSE(fs::exists(folder_ / "run" / "lock"));
  for (const auto& [name, bytes] : contents_of(folder_ / "run"))
    EXPECT_EQ(name.find(".tmp"), std::string::npos) << name;
}

TEST_F(TwoRunsTest, RunsWithoutTheMeansTheyNeedEndWithOneLine) {
  for (const char* more : {"--set loader.threads=100000", "--set loader.threads=0",
                           "--set checkpoint.every_seconds=1e999", "--fold -1", "-o ''"}) {
    const ProgramResult result = run_lamp(arguments("none", more));
    EXPECT_EQ(result.exit_code, 2) << more << ": " << result.err;
    EXPECT_EQ(std::count(result.err.begin(), result.err.end(), '\n'), 1) << result.err;
    EXPECT_FALSE(fs::exists(folder_ / "none"));
  }
  EXPECT_EQ(run_lamp(arguments("fine", "--set checkpoint.every_seconds=1e300")).exit_code, 0);
  for (const int megabytes : {400, 600, 800, 1000, 1400, 2000}) {
    const std::string run = "small" + std::to_string(megabytes);
    const ProgramResult result =
        run_lamp(arguments(run, "-q"), "ulimit -v " + std::to_string(megabytes * 1024) + ";");
    EXPECT_LT(result.exit_code, 128) << megabytes << " MB: " << result.err;
    EXPECT_EQ(result.err.find("terminate"), std::string::npos) << result.err;
  }
}

TEST_F(TwoRunsTest, ThreadsThatCannotBeStartedAreSaidAtOnce) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "their address space is beyond any limit";
#else
  const ProgramResult result =
      run_lamp("check --threads 400 '" + (folder_ / "data").string() + "'", "ulimit -v 2000000;");
  EXPECT_EQ(result.exit_code, 5) << result.err;
  EXPECT_NE(result.err.find("400 threads cannot be started here"), std::string::npos) << result.err;
#endif
}

TEST_F(TwoRunsTest, AFoldIsHeldOutAndNamed) {
  write_ball_dataset(folder_ / "data", 7);
  const ProgramResult result = run_lamp(arguments("fold", "--fold 1"));
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const Json split = read_json(folder_ / "fold" / "split.json");
  const Json folds = read_json(folder_ / "fold" / "splits_final.json");
  ASSERT_EQ(folds.size(), 5U);
  EXPECT_EQ(split["validation"], folds[1]["val"]);
  for (const Json& name : split["validation"])
    EXPECT_THAT(result.err, HasSubstr(name.get<std::string>()));
  EXPECT_EQ(run_lamp(arguments("other", "--fold 5")).exit_code, 2);
}

}  // namespace
}  // namespace lamp::testing
