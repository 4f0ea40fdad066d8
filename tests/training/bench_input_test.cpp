#include "lamp/training/bench_input.h"

#include <gtest/gtest.h>

#include "lamp/base/errors.h"
#include "lamp/base/log.h"
#include "support/ball_dataset.h"
#include "support/temporary_folder.h"

namespace lamp {
namespace {

namespace fs = std::filesystem;

class BenchInputTest : public ::testing::Test {
 protected:
  BenchInputTest() {
    set_log_level(LogLevel::kWarning);
    options_ = {.dataset = testing::write_ball_dataset(folder_ / "data", 5),
                .config = testing::ball_config(),
                .rounds = 2,
                .batches = 3};
    options_.config["loader"]["cache"] = (folder_ / "cache").string();
  }

  testing::TemporaryFolder folder_;
  InputBenchOptions options_;
};

TEST_F(BenchInputTest, AWarmPassPreparesNothingAndNothingIsLeftBehind) {
  const Json result = bench_input(options_);
  EXPECT_EQ(result["cold"]["prepared"], 4) << "one of five is held out for validation";
  EXPECT_EQ(result["warm"]["prepared"], 0);
  EXPECT_EQ(result["rounds"].size(), 2U);
  EXPECT_GT(result["patches_per_second"].get<double>(), 0);
  EXPECT_GT(result["volumes_per_second"].get<double>(), 0);
  EXPECT_GT(result["peak_bytes"][0].get<std::int64_t>(), 0);
  EXPECT_GT(result["cache_bytes"].get<std::int64_t>(), 0);
  EXPECT_GT(result["device"]["step_seconds"].get<double>(), 0);
  EXPECT_TRUE(fs::is_empty(folder_ / "cache"));
}

TEST_F(BenchInputTest, ASlowDeviceWaitsForLessOfItsTimeThanAFastOne) {
  options_.batches = 4;
  options_.step_seconds = 0.3;
  const Json slow = bench_input(options_)["device"];
  EXPECT_EQ(slow["step_seconds"], 0.3);
  options_.step_seconds = 1e-9;
  const Json fast = bench_input(options_)["device"];
  EXPECT_LT(slow["wait_share"].get<double>(), fast["wait_share"].get<double>());
}

TEST_F(BenchInputTest, WithoutACacheThereIsNoWarmPass) {
  options_.config["loader"]["cache"] = "off";
  options_.step_seconds = 0.001;
  const Json result = bench_input(options_);
  EXPECT_FALSE(result.contains("warm"));
  EXPECT_EQ(result["cache"], "off");
  EXPECT_EQ(result["cache_bytes"], 0);
}

TEST_F(BenchInputTest, RefusesAStageThatIsNotThere) {
  options_.stage = 3;
  EXPECT_THROW(bench_input(options_), UsageError);
}

TEST_F(BenchInputTest, AStepOrBatchThatCannotFitIsRefusedBeforeAnyCaseIsRead) {
  options_.config["curriculum"][0]["batch"] = 100'000'000;
  for (const std::optional<double> seconds : {std::optional<double>(), std::optional(0.1)}) {
    options_.step_seconds = seconds;
    EXPECT_THROW(bench_input(options_), DoesNotFit);
    EXPECT_FALSE(fs::exists(folder_ / "cache"));
  }
}

}  // namespace
}  // namespace lamp
