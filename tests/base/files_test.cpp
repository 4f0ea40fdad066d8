// A file is whole or not there, and what was there before survives a failure.
#include "lamp/base/files.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <fstream>
#include <string>
#include <utility>
#include <vector>

#include "lamp/base/errors.h"
#include "support/temporary_folder.h"

namespace lamp {
namespace {

namespace fs = std::filesystem;
using lamp::testing::TemporaryFolder;
using ::testing::HasSubstr;

std::size_t entries(const fs::path& folder) {
  return static_cast<std::size_t>(std::distance(fs::directory_iterator(folder), {}));
}

TEST(FilesTest, ReadsBackWhatWasWritten) {
  const TemporaryFolder folder;
  const std::string bytes("a\0b\n\xff", 5);
  write_file(folder / "file", bytes);
  EXPECT_EQ(read_file(folder / "file"), bytes);
  EXPECT_EQ(entries(folder.path()), 1U);
}

TEST(FilesTest, NothingAppearsBeforeCommit) {
  const TemporaryFolder folder;
  {
    AtomicFile file(folder / "case.nii.gz");
    file.write("half");
    EXPECT_FALSE(fs::exists(folder / "case.nii.gz"));
    EXPECT_TRUE(file.temporary().string().ends_with(".nii.gz"));
  }
  EXPECT_EQ(entries(folder.path()), 0U);
}

TEST(FilesTest, AnUncommittedFileLeavesTheOldOneAlone) {
  const TemporaryFolder folder;
  write_file(folder / "file", "old");
  {
    AtomicFile file(folder / "file");
    file.write("new");
  }
  EXPECT_EQ(read_file(folder / "file"), "old");
  write_file(folder / "file", "new");
  EXPECT_EQ(read_file(folder / "file"), "new");
}

// A limit on the size of files stands in for a full disk.
TEST(FilesTest, ADiskThatRefusesLeavesTheOldFileAndNoOther) {
  const TemporaryFolder folder;
  write_file(folder / "file", "old");
  rlimit before{};
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &before), 0);
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  const rlimit small{1000, before.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &small), 0);
  std::string message = "accepted";
  try {
    write_file(folder / "file", std::string(5000, 'x'));
  } catch (const Error& error) {
    message = error.what();
    EXPECT_EQ(error.exit_code(), kExitRuntime);
  }
  setrlimit(RLIMIT_FSIZE, &before);
  std::signal(SIGXFSZ, handler);
  EXPECT_THAT(message, HasSubstr((folder / "file").string()));
  EXPECT_EQ(read_file(folder / "file"), "old");
  EXPECT_EQ(entries(folder.path()), 1U);
}

TEST(FilesTest, AFolderThatIsNotThereIsAnErrorThatNamesTheFile) {
  const TemporaryFolder folder;
  try {
    write_file(folder / "absent" / "file", "x");
    FAIL() << "written into nowhere";
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("absent/file"));
  }
}

// Root may write anywhere, so the folder here is one that nobody can create: below a file.
TEST(FilesTest, AnOutputFolderThatCannotBeIsAnError) {
  const TemporaryFolder folder;
  write_file(folder / "file", "x");
  EXPECT_THROW(make_output_folder(folder / "file" / "below"), Error);
  EXPECT_THROW(make_output_folder(folder / "file"), Error);
  EXPECT_THROW(make_output_folder("/proc/lamp-cannot-write-here"), Error);
}

TEST(FilesTest, ALinkThatLeadsNowhereIsCalledSo) {
  const TemporaryFolder folder;
  std::filesystem::create_symlink("loop", folder / "loop");
  std::filesystem::create_symlink("absent", folder / "broken");
  for (const auto& [name, reason] : {std::pair{"loop", "levels of symbolic links"},
                                     std::pair{"loop/below", "levels of symbolic links"},
                                     std::pair{"broken", "a link to nothing"}}) {
    try {
      make_output_folder(folder / name);
      ADD_FAILURE() << name;
    } catch (const Error& error) {
      EXPECT_THAT(error.what(), HasSubstr((folder / name).string() + ": "));
      EXPECT_THAT(error.what(), HasSubstr(reason));
    }
  }
}

// A container gives its processes the same numbers again, and a killed one leaves its file behind.
TEST(FilesTest, LeftoversOfAProcessOfTheSameNumberDoNotStopAWrite) {
  const TemporaryFolder folder;
  const std::string start = ".file." + std::to_string(getpid()) + "-";
  for (int number = 0; number < 500; ++number)
    std::ofstream(folder / (start + std::to_string(number) + ".tmp")) << "left";
  write_file(folder / "file", "new");
  EXPECT_EQ(read_file(folder / "file"), "new");
  EXPECT_EQ(entries(folder.path()), 501U);
}

TEST(FilesTest, AnOutputFolderIsMadeWithItsParentsAndLeftEmpty) {
  const TemporaryFolder folder;
  make_output_folder(folder / "a" / "b");
  make_output_folder(folder / "a" / "b");
  EXPECT_EQ(entries(folder / "a" / "b"), 0U);
}

TEST(FilesTest, ReadingRefusesMissingFoldersAndTooLargeFiles) {
  const TemporaryFolder folder;
  EXPECT_THROW(read_file(folder / "absent"), InputError);
  EXPECT_THROW(read_file(folder.path()), InputError);
  write_file(folder / "file", "12345");
  EXPECT_THROW(read_file(folder / "file", 4), InputError);
  EXPECT_EQ(read_file(folder / "file", 5), "12345");
}

TEST(FilesTest, DoesNotWaitForAPipe) {
  const TemporaryFolder folder;
  ASSERT_EQ(mkfifo((folder / "pipe").c_str(), 0600), 0);
  try {
    read_file(folder / "pipe");
    FAIL() << "a pipe was read";
  } catch (const InputError& error) {
    EXPECT_THAT(error.what(), HasSubstr("not a regular file"));
  }
}

TEST(FilesTest, RemovesWhatKilledProcessesLeftAndNothingElse) {
  const TemporaryFolder folder;
  const pid_t gone = fork();
  if (gone == 0) _exit(0);
  ASSERT_EQ(waitpid(gone, nullptr, 0), gone);
  const std::string of_gone = std::to_string(gone) + "-3.tmp";
  const std::vector<std::string> stale = {".last." + of_gone + ".safetensors", ".config." + of_gone,
                                          ".a.b." + of_gone + ".nii.gz"};
  const std::vector<std::string> kept = {
      ".last." + std::to_string(getpid()) + "-3.tmp.safetensors",  // ours, at work
      ".last." + std::to_string(getppid()) + "-3.tmp",             // another's, at work
      "last." + of_gone + ".safetensors",                          // a user's: not hidden
      ".notes.tmp",
      ".x.12-.tmp",
      ".x.-3.tmp",
      ".x." + std::to_string(gone) + "3.tmp",
      ".tmp",
      "weights"};
  for (const auto* names : {&stale, &kept})
    for (const std::string& name : *names) std::ofstream(folder / name) << "x";
  EXPECT_EQ(remove_stale_temporaries(folder.path()), 3);
  for (const std::string& name : stale) EXPECT_FALSE(fs::exists(folder / name)) << name;
  for (const std::string& name : kept) EXPECT_TRUE(fs::exists(folder / name)) << name;
  EXPECT_EQ(remove_stale_temporaries(folder / "nowhere"), 0);
}

TEST(FilesTest, WritesUnderTheLongestNameThatTheFileSystemTakes) {
  const TemporaryFolder folder;
  const std::string name = std::string(248, 'n') + ".nii.gz";
  write_file(folder / name, "x");
  EXPECT_EQ(read_file(folder / name), "x");
}

}  // namespace
}  // namespace lamp
