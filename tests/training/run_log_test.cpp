// The header and the rows of metrics.csv, whatever the labels are called.
#include "lamp/training/run_log.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>

#include "lamp/base/errors.h"
#include "lamp/base/files.h"
#include "support/temporary_folder.h"

namespace lamp {
namespace {

using ::testing::HasSubstr;

const std::map<int, std::string> kLabels = {
    {0, "background"}, {1, "a,b"}, {2, "two\nlines"}, {3, "5\" nodule"}, {4, "plain"}};
const std::string kHeader =
    "epoch,stage,loss,learning_rate,seconds,dice_mean,\"dice_a,b\",\"dice_two\nlines\","
    "\"dice_5\"\" nodule\",dice_plain\n";

class RunLogTest : public ::testing::Test {
 protected:
  void append(RunLog& log, std::int64_t epoch) {
    log.append({.epoch = epoch, .stage = 1, .loss = 0.5, .learning_rate = 0.25, .seconds = 2});
  }
  testing::TemporaryFolder folder_;
  const std::filesystem::path file_ = folder_ / "metrics.csv";
};

TEST_F(RunLogTest, QuotesNamesAsRfc4180AsksAndReadsThemBack) {
  {
    RunLog log(file_, kLabels, 0);
    for (int epoch = 1; epoch <= 3; ++epoch) append(log, epoch);
  }
  const std::string row = ",1,0.5,0.25,2.000,,,,,\n";
  EXPECT_EQ(read_file(file_), kHeader + "1" + row + "2" + row + "3" + row);
  RunLog(file_, kLabels, 2);
  EXPECT_EQ(read_file(file_), kHeader + "1" + row + "2" + row);
}

TEST_F(RunLogTest, ReadsTheHeaderOfEarlierVersions) {
  std::ofstream(file_) << "epoch,stage,loss,learning_rate,seconds,dice_mean,dice_a,b,dice_two\n"
                          "lines,dice_5\" nodule,dice_plain\n1,1,0.5,0.25,2.000,,,,,\n2,1,x";
  RunLog(file_, kLabels, 1);
  EXPECT_EQ(read_file(file_), kHeader + "1,1,0.5,0.25,2.000,,,,,\n");
}

TEST_F(RunLogTest, NeverGoesOnBehindAnotherTable) {
  const std::string foreign = "case,label,name,Dice\nball_0,1,ball,0.5\n";
  std::ofstream(file_) << foreign;
  try {
    RunLog(file_, kLabels, 1);
    FAIL();
  } catch (const UsageError& error) {
    EXPECT_THAT(error.what(), HasSubstr("case,label,name"));
  }
  EXPECT_EQ(read_file(file_), foreign);
}

TEST_F(RunLogTest, AMissingLogIsBegunAgain) {
  RunLog log(file_, kLabels, 4);
  append(log, 5);
  EXPECT_EQ(read_file(file_), kHeader + "5,1,0.5,0.25,2.000,,,,,\n");
}

TEST_F(RunLogTest, TheMeanIsTheScoreAndUndefinedCellsStayEmpty) {
  RunLog log(file_, {{0, "background"}, {1, "a"}, {2, "b"}}, 0);
  log.append({.epoch = 1, .stage = 1, .dice = {std::nan(""), std::nan("")}, .dice_mean = 1});
  log.append({.epoch = 2, .stage = 1, .dice = {0.5, std::nan("")}, .dice_mean = 0.5});
  EXPECT_THAT(read_file(file_),
              HasSubstr("1,1,0,0,0.000,1.000000,,\n2,1,0,0,0.000,0.500000,0.500000,\n"));
}

}  // namespace
}  // namespace lamp
