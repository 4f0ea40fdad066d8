#include "lamp/dataset/check_paths.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <string>
#include <vector>

#include "lamp/base/errors.h"
#include "lamp/base/files.h"
#include "support/temporary_folder.h"

namespace lamp {
namespace {

using ::testing::HasSubstr;

std::string paths_refusal(const std::vector<std::string>& paths, const ReadOptions& read = {}) {
  try {
    check_paths(paths, read);
    return "accepted";
  } catch (const UsageError& error) {
    return error.what();
  }
}

TEST(CheckPathsTest, OneDataSetOrImagesOnly) {
  const testing::TemporaryFolder folder;
  std::filesystem::create_directories(folder / "a" / "imagesTr");
  std::filesystem::create_directories(folder / "b" / "imagesTr");
  const std::string a = (folder / "a").string(), b = (folder / "b").string();
  EXPECT_THAT(paths_refusal({a, b}), HasSubstr("found 2 data sets and 0 images"));
  EXPECT_THAT(paths_refusal({a, (folder / "c.nii").string()}),
              HasSubstr("found 1 data set and 1 image,"));
  EXPECT_THAT(paths_refusal({""}), HasSubstr("empty name"));
  EXPECT_THAT(paths_refusal({a}, {.dicom_series = "1"}), HasSubstr("series goes with DICOM"));
}

TEST(CheckPathsTest, AFolderWithoutVolumesIsToldWithAnExampleOfWhatLiesThere) {
  const testing::TemporaryFolder folder;
  write_file(folder / "notes.txt", "no volume");
  const CheckReport report = check_paths({folder.path().string()}, {});
  ASSERT_EQ(report.faults.size(), 1U);
  EXPECT_THAT(report.faults[0].found, HasSubstr("1 entry (such as notes.txt: "));
  ASSERT_EQ(report.ignored.size(), 1U);
  EXPECT_EQ(report.ignored[0].file.filename(), "notes.txt");
}

TEST(CheckPathsTest, TheFirstFaultIsSaidAndTheOthersCounted) {
  CheckReport report;
  EXPECT_NO_THROW(throw_if_faulty(report));
  Fault fault;
  fault.file = "a.nii";
  fault.what = "no label";
  fault.fix = "add it";
  for (const char* others : {"add it", "(and 1 more fault)", "(and 2 more faults)"}) {
    report.faults.push_back(fault);
    try {
      throw_if_faulty(report);
      ADD_FAILURE() << "accepted";
    } catch (const Error& error) {
      EXPECT_EQ(error.exit_code(), kExitInput);
      EXPECT_THAT(error.what(), HasSubstr(others));
    }
  }
}

}  // namespace
}  // namespace lamp
