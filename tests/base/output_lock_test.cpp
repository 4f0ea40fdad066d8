#include "lamp/base/output_lock.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <fstream>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "lamp/base/errors.h"
#include "lamp/base/files.h"
#include "lamp/base/json.h"
#include "lamp/base/log.h"
#include "support/folder_contents.h"
#include "support/temporary_folder.h"

namespace lamp {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
namespace fs = std::filesystem;

class OutputLockTest : public ::testing::Test {
 protected:
  OutputLockTest() { set_log_level(LogLevel::kWarning); }

  std::string refusal() {
    try {
      OutputLock lock(run_);
    } catch (const Error& error) {
      return error.what();
    }
    return "no error";
  }
  // The lock that a process of this number would have left.
  void leave_lock(const Json& changes) {
    Json owner;
    {
      OutputLock lock(run_);
      lock.keep();
      owner = read_json(run_ / kFolderLock);
    }
    owner.update(changes);
    std::ofstream(run_ / kFolderLock) << owner.dump();
  }
  // The number of a process that has ended.
  static pid_t ended_process() {
    const pid_t child = fork();
    if (child == 0) _exit(0);
    waitpid(child, nullptr, 0);
    return child;
  }

  testing::TemporaryFolder folder_;
  fs::path run_ = folder_ / "run";
};

TEST_F(OutputLockTest, NamesHostAndProcessAndIsGoneAfterwards) {
  char host[256] = {};
  ASSERT_EQ(gethostname(host, sizeof host - 1), 0);
  {
    OutputLock lock(run_);
    lock.keep();
    const Json owner = read_json(run_ / kFolderLock);
    EXPECT_EQ(owner["host"], host);
    EXPECT_EQ(owner["process"], getpid());
    EXPECT_GT(owner["started"].get<std::int64_t>(), 0);
    EXPECT_THAT(refusal(),
                AllOf(HasSubstr("in use"), HasSubstr("process " + std::to_string(getpid())),
                      HasSubstr(host)));
  }
  EXPECT_TRUE(fs::is_empty(run_));
}

TEST_F(OutputLockTest, WithoutKeepEverythingIsAsItWas) {
  const fs::path deep = folder_ / "a" / "b" / "c";
  { OutputLock lock(deep); }
  EXPECT_FALSE(fs::exists(folder_ / "a"));
  fs::create_directories(folder_ / "a");
  { OutputLock lock(deep); }
  EXPECT_TRUE(fs::exists(folder_ / "a"));
  EXPECT_FALSE(fs::exists(folder_ / "a" / "b"));
  try {
    OutputLock lock(run_);
    throw std::runtime_error("anything");
  } catch (const std::runtime_error&) {
  }
  EXPECT_FALSE(fs::exists(run_));
}

TEST_F(OutputLockTest, WorkThatBeganLeavesNoStaleLockAndNoEmptyFolder) {
  leave_lock({{"process", ended_process()}});
  {
    OutputLock lock(run_);
    lock.start();
  }
  EXPECT_TRUE(fs::is_empty(run_));
  {
    OutputLock lock(folder_ / "a" / "b");
    lock.start();
  }
  EXPECT_FALSE(fs::exists(folder_ / "a"));
  {
    OutputLock lock(folder_ / "a" / "b");
    lock.start();
    std::ofstream(folder_ / "a" / "b" / "result") << "x";
  }
  EXPECT_EQ(testing::contents_of(folder_ / "a"),
            (std::map<std::string, std::string>{{"b", "folder"}, {"b/result", "x"}}));
}

TEST_F(OutputLockTest, FilesOfOneNameAreLockedApartFromOthers) {
  OutputLock one(run_, lock_of("one"));
  OutputLock two(run_, lock_of("two"));
  try {
    OutputLock again(run_, lock_of("one"));
    FAIL() << "both hold it";
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("in use: " + (run_ / "one").string() + ": "));
  }
  const OutputLock longest(run_, lock_of(std::string(255, 'x')));  // no name for a lock as it is
}

TEST_F(OutputLockTest, SaysWhatElseCanBeDoneThanToWait) {
  const OutputLock lock(run_);
  EXPECT_THAT(refusal(), HasSubstr("wait for it or choose another place"));
  try {
    OutputLock again(run_, kFolderLock, "name the file itself");
    FAIL() << "both hold it";
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("wait for it or name the file itself"));
  }
}

TEST_F(OutputLockTest, ALockFileIsKnownByNameAndContent) {
  const OutputLock folder(run_), file(run_, lock_of("a")), run(run_, kRunLock);
  for (const std::string& name : {std::string(kFolderLock), lock_of("a"), std::string(kRunLock)})
    EXPECT_TRUE(is_lock_file(run_ / name)) << name;
  fs::copy(run_ / kRunLock, run_ / "notes");
  EXPECT_FALSE(is_lock_file(run_ / "notes"));
  std::ofstream(run_ / lock_of("mine")) << "a user's own notes";
  EXPECT_FALSE(is_lock_file(run_ / lock_of("mine")));
  fs::create_symlink(run_ / kRunLock, run_ / lock_of("link"));
  EXPECT_FALSE(is_lock_file(run_ / lock_of("link")));
  EXPECT_FALSE(is_lock_file(run_ / lock_of("none")));
}

TEST_F(OutputLockTest, TheLockOfAProcessThatIsGoneIsTakenOver) {
  leave_lock({{"process", ended_process()}});
  OutputLock lock(run_);
  lock.keep();
  EXPECT_EQ(read_json(run_ / kFolderLock)["process"], getpid());
}

TEST_F(OutputLockTest, AnotherProcessOfTheSameNumberDoesNotKeepTheLock) {
  // Field 22 of /proc/PID/stat (proc(5)), found here by another way than the program's.
  const pid_t parent = getppid();
  leave_lock({{"process", parent}, {"started", 1}});
  OutputLock lock(run_);
  lock.keep();
  EXPECT_EQ(read_json(run_ / kFolderLock)["process"], getpid());
}

TEST_F(OutputLockTest, ALockFromBeforeTheMachineRestartedIsTakenOver) {
  leave_lock({{"boot", "00000000-0000-0000-0000-000000000000"}});
  OutputLock lock(run_);
  EXPECT_EQ(read_json(run_ / kFolderLock)["process"], getpid());
}

TEST_F(OutputLockTest, AProcessThatIsKilledLeavesALockThatTheNextTakes) {
  const pid_t child = fork();
  if (child == 0) {
    auto* lock = new OutputLock(run_);
    lock->keep();
    std::ofstream(folder_ / "ready") << "x";
    for (;;) pause();
  }
  while (!fs::exists(folder_ / "ready")) usleep(1000);
  EXPECT_THAT(refusal(), HasSubstr("process " + std::to_string(child)));
  kill(child, SIGKILL);
  usleep(100000);
  {
    OutputLock lock(run_);  // the child is not even waited for: a zombie holds nothing
    EXPECT_EQ(read_json(run_ / kFolderLock)["process"], getpid());
  }
  waitpid(child, nullptr, 0);
}

TEST_F(OutputLockTest, AStaleLockIsPutBackWhereTheStartIsRefused) {
  leave_lock({{"process", ended_process()}});
  const auto before = testing::contents_of(run_);
  { OutputLock lock(run_); }
  EXPECT_EQ(testing::contents_of(run_), before);
}

TEST_F(OutputLockTest, AnotherHostsLockIsRefusedWithTheWayToRemoveIt) {
  leave_lock({{"host", "some-other-machine"}});
  const auto before = testing::contents_of(run_);
  EXPECT_THAT(refusal(), AllOf(HasSubstr("some-other-machine"), HasSubstr("remove"),
                               HasSubstr((run_ / kFolderLock).string())));
  EXPECT_EQ(testing::contents_of(run_), before);
}

TEST_F(OutputLockTest, WhatIsNoLockIsLeftAlone) {
  fs::create_directories(run_);
  for (const char* text : {"", "{}", "a user's own notes", "{\"format\": \"lamp-lock\"}"}) {
    std::ofstream(run_ / kFolderLock) << text;
    EXPECT_THAT(refusal(), HasSubstr("remove")) << text;
    EXPECT_EQ(read_file(run_ / kFolderLock), text);
    EXPECT_FALSE(is_lock_text(text));
  }
}

// Whoever gets in counts itself in a file, and looks whether it is alone there.
TEST_F(OutputLockTest, OfManyProcessesThatStartAtOnceExactlyOneWins) {
  for (int round = 0; round < 20; ++round) {
    if (round % 2 == 1) leave_lock({{"process", ended_process()}});  // a stale one to fight over
    const std::string go = folder_ / ("go" + std::to_string(round));
    std::vector<pid_t> children;
    for (int i = 0; i < 6; ++i) {
      const pid_t child = fork();
      if (child == 0) {
        while (!fs::exists(go)) usleep(100);
        int code = 1;
        try {
          OutputLock lock(run_);
          lock.keep();
          usleep(150000);  // longer than the others take to try
          code = 0;
        } catch (const Error&) {
        }
        _exit(code);
      }
      children.push_back(child);
    }
    std::ofstream(go) << "x";
    int winners = 0;
    for (const pid_t child : children) {
      int status = 0;
      waitpid(child, &status, 0);
      ASSERT_TRUE(WIFEXITED(status));
      winners += WEXITSTATUS(status) == 0;
    }
    EXPECT_EQ(winners, 1) << "round " << round;
    EXPECT_TRUE(fs::is_empty(run_));
  }
}

}  // namespace
}  // namespace lamp
