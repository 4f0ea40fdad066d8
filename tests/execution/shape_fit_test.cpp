// What cannot fit is seen by shapes, before anything is measured.
#include "lamp/execution/shape_fit.h"

#include <ATen/Parallel.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "lamp/base/log.h"
#include "lamp/execution/plan_choices.h"

namespace lamp {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

// At full size the first layer's output alone takes 8 channels x 64^3 voxels x 4 bytes = 8 MiB a
// sample.
PlanOptions in_one_gibibyte(std::int64_t batch) {
  PlanOptions options{.input = {64, 64, 64}, .batch = batch, .execution = {.device = "cpu"}};
  options.net.width = 8;
  options.net.depth = 2;
  options.execution.layout = "contiguous";
  options.device_memory_bytes = std::int64_t{1} << 30;
  return options;
}

std::string told_while_planning(const PlanOptions& options, bool fits) {
  at::set_num_threads(1);
  set_log_level(LogLevel::kInfo);
  ::testing::internal::CaptureStderr();
  EXPECT_EQ(choose_plan(options).plan.fits, fits);
  std::string text = ::testing::internal::GetCapturedStderr();
  set_log_level(LogLevel::kWarning);
  return text;
}

TEST(ShapeFitTest, OnlyWhatCannotFitIsSurelyTooLarge) {
  EXPECT_FALSE(surely_too_large(in_one_gibibyte(1)));
  EXPECT_TRUE(surely_too_large(in_one_gibibyte(129)));
  EXPECT_TRUE(surely_too_large(in_one_gibibyte(100000)));
}

TEST(ShapeFitTest, WhatIsSurelyTooLargeIsPlannedWithoutMeasuring) {
  EXPECT_THAT(told_while_planning(in_one_gibibyte(100000), false), Not(HasSubstr("measuring")));
  EXPECT_THAT(told_while_planning(in_one_gibibyte(1), true), HasSubstr("measuring"));
}

TEST(ShapeFitTest, SeveralStagesOfOneHostShareItsMemory) {
  PlanOptions options = in_one_gibibyte(100000);
  options.execution.device = "cpu,cpu,cpu,cpu";
  options.execution.microbatches = 1;
  EXPECT_TRUE(surely_too_large(options));
}

// Of two stages on one host; one stage, and memory that the user names, are taken as they are.
TEST(ShapeFitTest, StagesThatShareAHeapMayNotFillIt) {
  const c10::Device host = c10::kCPU;
  const auto alone = static_cast<double>(device_memory({.device = "cpu"}, host));
  const auto shared = static_cast<double>(device_memory({.device = "cpu,cpu"}, host));
  EXPECT_NEAR(shared / alone, kTensorShareOfSharedHeap, 0.05);
  EXPECT_EQ(device_memory({.device = "cpu,cpu", .memory_bytes = 1 << 20}, host), 1 << 20);
}

}  // namespace
}  // namespace lamp
