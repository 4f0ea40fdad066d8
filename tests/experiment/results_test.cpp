#include "lamp/experiment/results.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "lamp/experiment/verdict.h"

namespace lamp {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

Json cell(double average, int seed) {
  return {{"dice", {{"left", average}, {"right", average}}},
          {"average", average},
          {"train_seconds", 10.0},
          {"seed", seed}};
}

Experiment two_rows() {
  Experiment experiment{.title = "Dice", .seeds = {0, 1}};
  experiment.conditions = {{.name = "small", .paper = "U-Net-32 (64³)"}, {.name = "whole"}};
  experiment.paper = {{.title = "Table 1",
                       .columns = {"model", "average"},
                       .rows = {{"U-Net-32 (64³)", {"76.66"}}}}};
  return experiment;
}

Claim better(Claim::Kind kind = Claim::kBetter) {
  return {.text = "whole wins", .kind = kind, .first = "whole", .second = "small"};
}

TEST(VerdictTest, AMarginLargerThanTheSpreadOverTheSeedsReproducesAClaim) {
  const Experiment experiment = two_rows();
  Results results{.experiment = experiment};
  results.dice["small"] = {cell(0.30, 0), cell(0.34, 1)};
  results.dice["whole"] = {cell(0.40, 0), cell(0.42, 1)};  // by 0.09, spread 0.04
  EXPECT_EQ(judge(better(), results).state, Verdict::kHolds);
  results.dice["whole"] = {cell(0.40, 0), cell(0.30, 1)};  // by 0.03, spread 0.10
  EXPECT_EQ(judge(better(), results).state, Verdict::kFails);
  EXPECT_EQ(judge(better(Claim::kNotWorse), results).state, Verdict::kHolds);
  results.dice["whole"] = {cell(0.20, 0), cell(0.21, 1)};
  EXPECT_EQ(judge(better(Claim::kNotWorse), results).state, Verdict::kFails);
}

TEST(VerdictTest, OneRunGoneAstrayDoesNotUpsetAClaimAboutEverySeed) {
  const Experiment experiment = two_rows();
  Results results{.experiment = experiment};
  results.dice["whole"] = {cell(0.51, 0), cell(0.50, 1)};
  results.dice["small"] = {cell(0.30, 0), cell(0.48, 1)};
  EXPECT_EQ(judge(better(), results).state, Verdict::kFails);
  EXPECT_EQ(judge(better(Claim::kAhead), results).state, Verdict::kHolds);
  results.dice["small"] = {cell(0.30, 0), cell(0.505, 1)};
  EXPECT_EQ(judge(better(Claim::kAhead), results).state, Verdict::kFails);
}

TEST(VerdictTest, AClaimStaysOpenUntilEverySeedIsThere) {
  const Experiment experiment = two_rows();
  Results results{.experiment = experiment};
  EXPECT_EQ(judge(better(), results).state, Verdict::kOpen);
  results.dice["small"] = {cell(0.3, 0), cell(0.3, 1)};
  results.dice["whole"] = {cell(0.9, 0)};
  EXPECT_EQ(judge(better(), results).state, Verdict::kOpen);
}

TEST(VerdictTest, SpeedIsHeldAgainstTheFactorThatWasClaimed) {
  Experiment experiment{.title = "seconds"};
  Results results{.experiment = experiment};
  results.timings["whole"] = {{"seconds", {1.0, 1.0}}, {"peak_bytes", {1}}};
  results.timings["small"] = {{"seconds", {1.9, 1.9}}, {"peak_bytes", {1}}};
  Claim claim = better(Claim::kFaster);
  claim.times = 2;
  EXPECT_EQ(judge(claim, results).state, Verdict::kFails);
  results.timings["small"]["seconds"] = {2.1, 2.1};
  EXPECT_EQ(judge(claim, results).state, Verdict::kHolds);
}

TEST(ResultsTest, TheTableShowsMeansDeviationsAndThePapersNumbers) {
  const Experiment experiment = two_rows();
  Results results{.experiment = experiment};
  results.dice["small"] = {cell(0.30, 0), cell(0.34, 1)};
  const std::string text = results_markdown(results);
  EXPECT_THAT(
      text,
      HasSubstr("| small | 32.0 ± 2.8 | 32.0 ± 2.8 | 32.0 ± 2.8 | 10 | 76.66, U-Net-32 (64³) |"));
  EXPECT_THAT(text, HasSubstr("| whole | – | – | – | – |  |")) << "nothing is invented";
}

TEST(ResultsTest, TheSpreadsheetHoldsEveryMeasurement) {
  const Experiment experiment = two_rows();
  Results results{.experiment = experiment};
  results.dice["small"] = {cell(0.25, 0), cell(0.5, 1)};
  const std::string text = results_csv(results);
  EXPECT_THAT(text, HasSubstr("dice,\"small\",0,\"left\",0.25\n"));
  EXPECT_THAT(text, HasSubstr("dice,\"small\",1,\"average\",0.5\n"));
  EXPECT_THAT(text, Not(HasSubstr("whole")));
}

TEST(ResultsTest, ALabelThatNoCaseHoldsDoesNotCount) {
  const Experiment experiment = two_rows();
  Results results{.experiment = experiment};
  Json first = cell(0.5, 0), second = cell(0.5, 1);
  first["dice"]["left"] = nullptr;
  results.dice["small"] = {first, second};
  EXPECT_THAT(results_markdown(results), HasSubstr("| small | 50.0 | 50.0 ± 0.0 |"));
  EXPECT_THAT(results_csv(results), HasSubstr("\"left\",NaN"));
}

}  // namespace
}  // namespace lamp
