// Every option that names an output, against every kind of thing that may stand there: one line,
// the right exit code, and not a byte of the user's changed; the same call again succeeds.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "lamp/base/json.h"
#include "support/ball_dataset.h"
#include "support/folder_contents.h"
#include "support/run_program.h"

namespace lamp::testing {
namespace {

using ::testing::HasSubstr;
namespace fs = std::filesystem;

class OutputTest : public ::testing::Test {
 protected:
  OutputTest() {
    write_ball_dataset(data_, 2);
    std::ofstream(folder_ / "theirs.json") << R"({"a": 1})";
    std::ofstream(folder_ / "theirs.svg") << "<svg></svg>";
    std::ofstream(folder_ / "theirs.csv") << "a,b\n";
    const std::string labels = quoted(data_ / "labelsTr");
    evaluate_ = "evaluate -q -p " + labels + " -r " + labels + " -o ";
  }

  // Each takes the name of a file behind it.
  std::vector<std::string> commands() const {
    const std::string plan =
        "plan -q --net unet --width 4 --depth 2 --input 16,16,16 --batch 1 "
        "--devices 1 --device-memory 4GiB ";
    const std::string simulate = "simulate --stages 2 --microbatches 2 ";
    return {evaluate_,         plan + "-o ",        plan + "--svg ",
            plan + "--trace ", simulate + "--svg ", simulate + "--trace "};
  }

  void expect_refused(const std::string& arguments, const std::string& part, int code = 2) {
    const auto before = contents_of(folder_.path());
    const ProgramResult result = run_lamp(arguments, "cd " + quoted(folder_.path()) + ";");
    EXPECT_EQ(result.exit_code, code) << arguments << "\n" << result.err;
    EXPECT_EQ(std::count(result.err.begin(), result.err.end(), '\n'), 1) << result.err;
    EXPECT_THAT(result.err, HasSubstr(part)) << arguments;
    EXPECT_EQ(contents_of(folder_.path()), before) << arguments;
  }

  TemporaryFolder folder_;
  fs::path data_ = folder_ / "data";
  std::string evaluate_;
};

TEST_F(OutputTest, WhatLampDidNotWriteIsNotReplaced) {
  const std::vector<std::string> theirs = {"theirs.json",
                                           "theirs.svg",
                                           "theirs.csv",
                                           "data/dataset.json",
                                           "data/labelsTr/ball_0.nii.gz",
                                           "data/imagesTr/ball_1.nii.gz"};
  for (const std::string& command : commands())
    for (const std::string& file : theirs) expect_refused(command + file, file);
}

TEST_F(OutputTest, TheSameCallAgainSucceeds) {
  int number = 0;
  for (const std::string& command : commands()) {
    const fs::path file = folder_ / "new" / ("x" + std::to_string(number++) + ".json");
    for (int round = 0; round < 2; ++round)
      EXPECT_EQ(run_lamp(command + quoted(file)).exit_code, 0) << command;
    EXPECT_TRUE(fs::is_regular_file(file)) << command;
  }
}

TEST_F(OutputTest, WhatIsNoFileIsRefused) {
  fs::create_directory(folder_ / "folder.json");
  fs::create_symlink(folder_ / "theirs.json", folder_ / "link.json");
  ASSERT_EQ(std::system(("mkfifo " + quoted(folder_ / "pipe.json")).c_str()), 0);
  for (const std::string& command : commands()) {
    expect_refused(command + "link.json", "symbolic link");
    expect_refused(command + "pipe.json", "pipe");
    expect_refused(command + "''", "empty name");
    expect_refused(command + "-", "standard output");
    expect_refused(command + std::string(300, 'x') + ".json", "305 bytes");
    expect_refused(command + "theirs.json/x.json", "no folder", 1);
    if (command != evaluate_) expect_refused(command + "folder.json", "found a folder");
    if (command != evaluate_) expect_refused(command + "/dev/null", "device");
  }
}

TEST_F(OutputTest, ARunsTableStaysBesideASummary) {
  fs::create_directory(folder_ / "run");
  std::ofstream(folder_ / "run" / "metrics.csv") << "stage,epoch,loss\n";
  expect_refused(evaluate_ + "run/summary.json", "metrics.csv");
  expect_refused(evaluate_ + "run", "metrics.csv");
}

TEST_F(OutputTest, NoResultsAmongTheFilesOfARunOrADataSet) {
  fs::create_directories(folder_ / "run" / "state");
  std::ofstream(folder_ / "run" / "run.json") << R"({"format": "lamp-run"})";
  for (const char* name : {"run", "run/state", "run/state/summary.json"})
    expect_refused(evaluate_ + name, "the files of a run");
  for (const char* name : {"data/labelsTr", "data/imagesTr/new", "data/imagesTr/x.json"})
    expect_refused(evaluate_ + name, "the files of a data set");
  for (const char* name : {"run/predictions", "data/predictions", "data/x.json"})
    EXPECT_EQ(run_lamp(evaluate_ + quoted(folder_ / name)).exit_code, 0) << name;
}

TEST_F(OutputTest, AFolderTakesTheSummaryAndItsTable) {
  for (const char* name : {"results", "results/", "results/deep"}) {
    EXPECT_EQ(run_lamp(evaluate_ + quoted(folder_ / name)).exit_code, 0) << name;
    EXPECT_TRUE(fs::exists(folder_ / name / "summary.json")) << name;
    EXPECT_TRUE(fs::exists(folder_ / name / "metrics.csv")) << name;
    EXPECT_FALSE(fs::exists(folder_ / "metrics.csv")) << name;
  }
}

TEST_F(OutputTest, ANameThatIsNoJsonIsNoSummary) {
  for (const char* name : {"x.nii.gz", "data/labelsTr/new.nii.gz", "x.csv", "x.html"})
    expect_refused(evaluate_ + name, "does not end in .json");
}

TEST_F(OutputTest, PhantomsReplaceOnlyPhantoms) {
  const std::string synth = "synth -q --kind twins --train 1 --test 1 --size 40,40,40 -o ph";
  const std::string before = "cd " + quoted(folder_.path()) + ";";
  ASSERT_EQ(run_lamp(synth, before).exit_code, 0);
  const std::string bytes = text_of(folder_ / "ph" / "imagesTr" / "twins_001.nii.gz");
  ASSERT_EQ(run_lamp(synth, before).exit_code, 0);
  EXPECT_EQ(text_of(folder_ / "ph" / "imagesTr" / "twins_001.nii.gz"), bytes);
  fs::copy(data_ / "labelsTr" / "ball_0.nii.gz", folder_ / "ph" / "labelsTr" / "twins_001.nii.gz",
           fs::copy_options::overwrite_existing);
  expect_refused(synth, "twins_001.nii.gz");
  fs::remove(folder_ / "ph" / "dataset.json");
  expect_refused(synth, "twins_001.nii.gz");
}

TEST_F(OutputTest, AnExperimentTakesNoFolderOfTheUsers) {
  expect_refused("experiment --preset speed --scale small -o data", "expected an empty folder");
  expect_refused("experiment --preset speed --scale small -o theirs.json", "found a file");
}

}  // namespace
}  // namespace lamp::testing
