// lamp prepare as scripts meet it: one JSON document, exit codes, a stop that resumes.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <thread>

#include "convert/prepare_samples.h"
#include "support/run_program.h"

namespace lamp::testing {
namespace {

using ::testing::HasSubstr;
namespace fs = std::filesystem;

TEST(PrepareCommandTest, OneJsonDocumentAndADataSetThatChecks) {
  const TemporaryFolder folder;
  write_liver_task(folder / "liver", 5);
  const ProgramResult result = run_lamp("prepare --json --from decathlon --test 2 --seed 4 " +
                                        quoted(folder / "liver") + " -o " + quoted(folder / "out"));
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const Json json = parse_json(result.out, "stdout");
  EXPECT_EQ(json["cases"], 5);
  EXPECT_EQ(json["training"], 3);
  EXPECT_EQ(json["test"], 2);
  EXPECT_TRUE(json["faults"].empty());
  EXPECT_EQ(run_lamp("check " + quoted(folder / "out")).exit_code, 0);
  const std::string labels = quoted(folder / "out" / "labelsTs");
  EXPECT_EQ(run_lamp("evaluate -p " + labels + " -r " + labels + " -d " + quoted(folder / "out") +
                     " -o " + quoted(folder / "summary.json"))
                .exit_code,
            0);
}

TEST(PrepareCommandTest, ExitCodesTellWhatWentWrong) {
  const TemporaryFolder folder;
  write_han_case(folder / "han" / "a");
  write_han_case(folder / "han" / "b");
  const std::string from = "prepare --from han-npy " + quoted(folder / "han") + " -o ";
  EXPECT_EQ(run_lamp(from + quoted(folder / "x") + " --spacing 1,1").exit_code, 2);
  EXPECT_EQ(run_lamp(from + quoted(folder / "han")).exit_code, 2);
  EXPECT_EQ(run_lamp("prepare --from han-npy /no/such/folder -o " + quoted(folder / "x")).exit_code,
            3);
  written(folder / "han" / "a" / "structures" / "Chiasm_crp_v2.npy", "no array");
  const ProgramResult some = run_lamp("prepare --json --test-cases b --from han-npy " +
                                      quoted(folder / "han") + " -o " + quoted(folder / "out"));
  EXPECT_EQ(some.exit_code, 4);
  EXPECT_THAT(some.err, HasSubstr("1 x 1 x 1 mm is written"));
  EXPECT_THAT(some.err, HasSubstr("Chiasm_crp_v2.npy"));
  const Json json = parse_json(some.out, "stdout");
  EXPECT_EQ(json["faults"].size(), 1U);
  EXPECT_EQ(json["test"], 1);
}

// Stops and kills a conversion at moments it does not choose; what is there is always whole.
TEST(PrepareCommandTest, StoppedAndKilledConversionsGoOnToTheSameBytes) {
  const TemporaryFolder folder;
  write_liver_task(folder / "liver", 60);
  const auto arguments = [&](const char* out) {
    return "prepare -q --from decathlon " + quoted(folder / "liver") + " -o " +
           quoted(folder / out);
  };
  ASSERT_EQ(run_lamp(arguments("whole")).exit_code, 0);
  int stopped = 0;
  for (int round = 0; round < 6; ++round) {
    std::string command = "exec '" LAMP_PROGRAM "' " + arguments("stopped") + " 2>/dev/null";
    std::vector<char*> argv = {const_cast<char*>("/bin/sh"), const_cast<char*>("-c"),
                               command.data(), nullptr};
    pid_t child = 0;
    ASSERT_EQ(posix_spawn(&child, "/bin/sh", nullptr, nullptr, argv.data(), environ), 0);
    const int signal = round % 2 == 0 ? SIGINT : SIGKILL;
    // As soon as the next case or so is there.
    const auto cases = [&] {
      std::error_code error;
      return std::distance(fs::directory_iterator(folder / "stopped" / "labelsTr", error),
                           fs::directory_iterator());
    };
    const auto before = cases();
    for (int i = 0; i < 2000 && cases() <= before; ++i)
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    kill(child, signal);
    int status = 0;
    waitpid(child, &status, 0);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0) break;
    ++stopped;
    if (signal == SIGINT) {
      ASSERT_TRUE(WIFEXITED(status));
      EXPECT_EQ(WEXITSTATUS(status), 130);
    }
    EXPECT_FALSE(fs::exists(folder / "stopped" / "dataset.json"));
  }
  EXPECT_GE(stopped, 2);
  ASSERT_EQ(run_lamp(arguments("stopped")).exit_code, 0);
  EXPECT_TRUE(bytes_under(folder / "stopped") == bytes_under(folder / "whole"));
}

}  // namespace
}  // namespace lamp::testing
