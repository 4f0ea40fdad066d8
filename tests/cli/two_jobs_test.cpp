// Two jobs with one output, for every command that writes more than one file: through the program
// itself, while this process holds the lock as another job would.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <fstream>
#include <memory>
#include <thread>
#include <vector>

#include "lamp/base/errors.h"
#include "lamp/base/output_lock.h"
#include "support/ball_dataset.h"
#include "support/folder_contents.h"
#include "support/run_program.h"

namespace lamp::testing {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
namespace fs = std::filesystem;

constexpr const char* kExperiment = R"({
  "title": "tiny",
  "timings": {"input": [24, 24, 24], "classes": 2, "rounds": 1,
              "rows": [{"name": "timed", "net": {"width": 4, "depth": 1}, "patch": "whole"}]}})";

struct Job {
  std::string arguments;
  fs::path folder;  // whose lock it takes
  std::string lock = kFolderLock;
};

class TwoJobsTest : public ::testing::Test {
 protected:
  TwoJobsTest() {
    write_ball_dataset(data_, 4);
    std::ofstream(folder_ / "experiment.json") << kExperiment;
  }

  // A network that need not be good.
  void train() const {
    Json config = ball_config();
    config["curriculum"] = Json::array({config["curriculum"][0]});
    config["curriculum"][0]["epochs"] = 1;
    std::ofstream(folder_ / "config.json") << config.dump();
    const ProgramResult trained =
        run_lamp("train -q -d " + quoted(data_) + " -c " + quoted(folder_ / "config.json") +
                 " -o " + quoted(folder_ / "run"));
    ASSERT_EQ(trained.exit_code, 0) << trained.err;
  }

  std::vector<Job> jobs() const {
    const std::string labels = quoted(data_ / "labelsTr");
    const std::string image = quoted(data_ / "imagesTr" / "ball_0.nii.gz");
    const std::string segment = "segment -q -m " + quoted(folder_ / "run") + " -i " + image;
    const fs::path out = folder_ / "out";
    return {
        {segment + " -o " + quoted(out / "maps"), out / "maps"},
        {segment + " -o " + quoted(out / "one" / "x.nii.gz"), out / "one", lock_of("x")},
        {"evaluate -p " + labels + " -r " + labels + " -o " + quoted(out / "e" / "summary.json"),
         out / "e"},
        {"evaluate --preview -p " + labels + " -r " + labels + " -o " + quoted(out / "f"),
         out / "f"},
        {"check --preview " + quoted(out / "pictures") + " " + quoted(data_), out / "pictures"},
        {"prepare --from decathlon --test 1 " + quoted(data_) + " -o " + quoted(out / "prepared"),
         out / "prepared"},
        {"synth --kind twins --train 1 --test 1 --size 32,32,32 -o " + quoted(out / "synth"),
         out / "synth"},
        {"experiment --device cpu --preset " + quoted(folder_ / "experiment.json") + " -o " +
             quoted(out / "experiment"),
         out / "experiment"}};
  }

  // The lock of a process that has ended without a word.
  static void leave_lock(const Job& job) {
    const pid_t child = fork();
    if (child == 0) {
      auto* lock = new OutputLock(job.folder, job.lock);
      lock->keep();
      _exit(0);
    }
    waitpid(child, nullptr, 0);
    ASSERT_TRUE(fs::exists(job.folder / job.lock));
  }
  static void expect_no_lock(const fs::path& folder) {
    for (const auto& [name, bytes] : contents_of(folder)) {
      EXPECT_EQ(name.find("lock"), std::string::npos) << folder << ": " << name;
      EXPECT_EQ(name.find(".tmp"), std::string::npos) << folder << ": " << name;
    }
  }

  TemporaryFolder folder_;
  fs::path data_ = folder_ / "data";
};

TEST_F(TwoJobsTest, TheSecondIsToldWhoIsAtWorkAndWritesNothing) {
  train();
  char host[256] = {};
  ASSERT_EQ(gethostname(host, sizeof host - 1), 0);
  for (const Job& job : jobs()) {
    auto first = std::make_unique<OutputLock>(job.folder, job.lock);
    const auto before = contents_of(folder_.path());
    const ProgramResult second = run_lamp(job.arguments);
    EXPECT_EQ(second.exit_code, 1) << job.arguments << "\n" << second.err;
    EXPECT_EQ(std::count(second.err.begin(), second.err.end(), '\n'), 1) << second.err;
    EXPECT_THAT(second.err,
                AllOf(HasSubstr("in use"), HasSubstr(job.folder.string()), HasSubstr(host),
                      HasSubstr("process " + std::to_string(getpid()))));
    EXPECT_EQ(contents_of(folder_.path()), before) << job.arguments;
    first.reset();
    // Twice: what the first has written is no obstacle, and no lock is left to be one.
    for (int round = 0; round < 2; ++round) {
      const ProgramResult free = run_lamp(job.arguments);
      EXPECT_EQ(free.exit_code, 0) << job.arguments << "\n" << free.err;
      EXPECT_FALSE(fs::is_empty(job.folder)) << job.arguments;
      expect_no_lock(job.folder);
    }
  }
}

TEST_F(TwoJobsTest, AKilledJobsLockIsTakenOver) {
  train();
  for (const Job& job : jobs()) {
    leave_lock(job);
    const ProgramResult next = run_lamp(job.arguments);
    EXPECT_EQ(next.exit_code, 0) << job.arguments << "\n" << next.err;
    expect_no_lock(job.folder);
  }
}

TEST_F(TwoJobsTest, AKilledJobsLockMakesNoFolderForeign) {
  const Job any{"", folder_ / "other"};
  leave_lock(any);
  std::ofstream(folder_ / "config.json") << ball_config().dump();
  const std::string train = "train -q --set curriculum.0.epochs=1 -d " + quoted(data_) + " -c " +
                            quoted(folder_ / "config.json") + " -o " + quoted(any.folder);
  const ProgramResult result = run_lamp(train);
  EXPECT_EQ(result.exit_code, 0) << result.err;
}

// Other names in the folder are other jobs' business, as in a loop that segments case by case.
TEST_F(TwoJobsTest, SingleLabelMapsOfOneFolderAreSegmentedSideBySide) {
  train();
  const fs::path out = folder_ / "out";
  const OutputLock other(out, lock_of("y"));
  const ProgramResult result =
      run_lamp("segment -q --preview -m " + quoted(folder_ / "run") + " -i " +
               quoted(data_ / "imagesTr" / "ball_0.nii.gz") + " -o " + quoted(out / "x.nii.gz"));
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_TRUE(fs::exists(out / "x.nii.gz"));
  EXPECT_TRUE(fs::exists(out / "x.png"));
  // The picture of x.nrrd would be the same file.
  const OutputLock same(out, lock_of("x"));
  const ProgramResult second =
      run_lamp("segment -q --preview -m " + quoted(folder_ / "run") + " -i " +
               quoted(data_ / "imagesTr" / "ball_1.nii.gz") + " -o " + quoted(out / "x.nrrd"));
  EXPECT_EQ(second.exit_code, 1) << second.err;
}

TEST_F(TwoJobsTest, AJobThatFailsOrIsStoppedLeavesNoLock) {
  // Another data set's folder, a foreign file, no case to compare.
  const fs::path user = folder_ / "user";
  fs::create_directories(user);
  std::ofstream(user / "dataset.json") << "{}";
  std::ofstream(user / "ball_0.png") << "a photo";
  const auto before = contents_of(user);
  for (const std::string& arguments :
       {"synth --kind twins --train 1 --test 0 --size 32,32,32 -o " + quoted(user),
        "prepare --from decathlon --test 1 " + quoted(data_) + " -o " + quoted(user),
        "check --preview " + quoted(user) + " " + quoted(data_),
        "evaluate --preview -p " + quoted(data_ / "labelsTr") + " -r " +
            quoted(data_ / "labelsTr") + " -o " + quoted(user),
        "experiment --device cpu --preset " + quoted(folder_ / "experiment.json") + " -o " +
            quoted(user)}) {
    EXPECT_EQ(run_lamp(arguments).exit_code, 2) << arguments;
    EXPECT_EQ(contents_of(user), before) << arguments;
  }
  const fs::path made = folder_ / "made";
  EXPECT_NE(run_lamp("evaluate -p " + quoted(data_ / "imagesTr") + " -r " +
                     quoted(data_ / "imagesTr") + " -o " + quoted(made / "summary.json"))
                .exit_code,
            0);
  EXPECT_FALSE(fs::exists(made));
  for (const int signal : {SIGINT, SIGTERM}) {
    const fs::path out = folder_ / ("stopped" + std::to_string(signal));
    std::string command = "exec '" LAMP_PROGRAM "' synth -q --kind twins --train 9999 -o " +
                          quoted(out) + " 2>/dev/null";
    std::vector<char*> argv = {const_cast<char*>("/bin/sh"), const_cast<char*>("-c"),
                               command.data(), nullptr};
    pid_t child = 0;
    ASSERT_EQ(posix_spawn(&child, "/bin/sh", nullptr, nullptr, argv.data(), environ), 0);
    for (int i = 0; i < 6000 && !fs::exists(out / "imagesTr" / "twins_001.nii.gz"); ++i)
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    EXPECT_TRUE(is_lock_file(out / kFolderLock));
    kill(child, signal);
    int status = 0;
    waitpid(child, &status, 0);
    ASSERT_TRUE(WIFEXITED(status));
    EXPECT_EQ(WEXITSTATUS(status), 128 + signal);
    expect_no_lock(out);
  }
}

}  // namespace
}  // namespace lamp::testing
