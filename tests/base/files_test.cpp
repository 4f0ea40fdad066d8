// A file is whole or not there, and what was there before survives a failure.
#include "lamp/base/files.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <csignal>
#include <fstream>

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

}  // namespace
}  // namespace lamp
