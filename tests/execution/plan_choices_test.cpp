// Precision and input where they are left open, and what a memory limit means for a real run.
#include "lamp/execution/plan_choices.h"

#include <ATen/Parallel.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/types.h>

#include <algorithm>
#include <fstream>
#include <string>

#include "lamp/base/device.h"
#include "lamp/base/errors.h"
#include "lamp/base/log.h"
#include "lamp/base/random.h"
#include "lamp/base/size3.h"
#include "lamp/training/bench.h"

namespace lamp {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;

PlanOptions small_unet() {
  set_log_level(LogLevel::kWarning);
  at::set_num_threads(1);
  PlanOptions options{.input = {32, 32, 32}, .batch = 2, .execution = {.device = "cpu"}};
  options.net = {.name = "unet", .width = 4, .depth = 2, .classes = 5};
  return options;
}

PlanOptions absent(std::int64_t memory_bytes) {
  PlanOptions options = small_unet();
  options.absent_devices = 1;
  options.device_memory_bytes = memory_bytes;
  options.execution.recompute = "never";
  options.execution.microbatches = 1;
  return options;
}

// What the kernel says of this CPU, not what LAMP asks it.
bool cpu_has(const std::string& feature) {
  std::ifstream in("/proc/cpuinfo");
  for (std::string line; std::getline(in, line);)
    if (line.starts_with("flags") && (line + " ").find(" " + feature + " ") != std::string::npos)
      return true;
  return false;
}

TEST(PlanChoicesTest, PrecisionAutoIsWhatTheDeviceMultipliesItself) {
  PlanOptions options = small_unet();
  options.execution.precision = "auto";
  const NetworkPlan chosen = choose_plan(options);
  ASSERT_TRUE(chosen.plan.fits);
  const bool is_fast = cpu_has("avx512_bf16");
  EXPECT_EQ(chosen.execution.precision, is_fast ? "bf16" : "fp32");
  EXPECT_THAT(chosen.plan.reasons,
              Contains(HasSubstr(is_fast ? "precision bf16: this CPU multiplies bf16"
                                         : "precision fp32: this CPU does not multiply bf16")));
}

TEST(PlanChoicesTest, PrecisionAutoNeedsADeviceToAsk) {
  PlanOptions options = absent(std::int64_t{1} << 30);
  options.execution.precision = "auto";
  EXPECT_THROW(choose_plan(options), UsageError);
}

TEST(PlanChoicesTest, TheLargestInputFitsAndTheNextOneDoesNot) {
  for (const std::int64_t mebibytes : {12, 20, 33, 50, 200}) {
    PlanOptions options = absent(mebibytes << 20);
    options.input = {70, 52, 61};
    options.largest_input = true;
    const NetworkPlan chosen = choose_plan(options);
    ASSERT_TRUE(chosen.plan.fits) << mebibytes;
    const auto size = chosen.options.input;
    const Size3 most = {64, 48, 56};  // multiples of 8
    for (std::size_t axis = 0; axis < 3; ++axis) {
      EXPECT_EQ(size[axis] % 8, 0);
      EXPECT_LE(size[axis], most[axis]);
    }
    EXPECT_THAT(chosen.plan.reasons.back(), HasSubstr("the largest up to 70,52,61 that fits"));
    if (size == most) continue;
    // The last one on the walk from the largest down that was passed over.
    options = chosen.options;
    for (auto now = most; now != size;) {
      options.input = now;
      *std::max_element(now.begin(), now.end()) -= 8;
    }
    EXPECT_FALSE(plan_network(options).fits) << mebibytes;
  }
}

TEST(PlanChoicesTest, WhereNotEvenOneStrideFitsThePlanSaysSo) {
  PlanOptions options = absent(std::int64_t{1} << 16);
  options.largest_input = true;
  const NetworkPlan chosen = choose_plan(options);
  EXPECT_FALSE(chosen.plan.fits);
  EXPECT_EQ(chosen.options.input, (Size3{8, 8, 8}));
  EXPECT_THAT(chosen.plan.reasons.front(), HasSubstr("nothing fits"));
}

TEST(PlanChoicesTest, TheLargestInputMayNotBeSmallerThanTheStride) {
  PlanOptions options = absent(std::int64_t{1} << 30);
  options.input = {64, 64, 7};
  options.largest_input = true;
  EXPECT_THROW(choose_plan(options), UsageError);
}

// Limits from far too small to roomy, what is left open drawn at random: a plan that is said to fit
// keeps to its limit when run, and what is said not to fit exceeds it even in the smallest form.
TEST(PlanLimitTest, WhatFitsKeepsToItsLimitAndWhatDoesNotExceedsIt) {
  Random random({11});
  int fitted = 0, refused = 0;
  for (int trial = 0; trial < 24; ++trial) {
    PlanOptions options = small_unet();
    options.batch = 4;
    options.input = {24, 24, 16};
    options.execution.device = trial % 2 == 0 ? "cpu" : "cpu,cpu";
    options.execution.schedule = trial % 4 < 2 ? "auto" : "naive";
    options.execution.microbatches = static_cast<std::int64_t>(random.below(3));
    const std::int64_t limit =
        (std::int64_t{1} << 20) + static_cast<std::int64_t>(random.below(4 << 20));
    options.device_memory_bytes = limit;
    const NetworkPlan chosen = choose_plan(options);
    const Plan& plan = chosen.plan;
    const std::int64_t peak = measure_plan(chosen, 2).peak_bytes[0];
    const std::string setting = options.execution.device + " M " +
                                std::to_string(plan.setup.microbatches) + " " +
                                to_string(plan.setup.schedule) + " limit " + std::to_string(limit) +
                                " predicted " + std::to_string(plan.balance.largest_peak_bytes);
    if (plan.fits) {
      EXPECT_LE(peak, limit) << setting;
      ++fitted;
    } else {
      EXPECT_GT(peak, limit) << setting;
      ++refused;
    }
  }
  EXPECT_GT(fitted, 4);
  EXPECT_GT(refused, 4);
}

}  // namespace
}  // namespace lamp
