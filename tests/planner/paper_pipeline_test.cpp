#include "lamp/planner/paper_pipeline.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "lamp/base/errors.h"

namespace lamp {
namespace {

using ::testing::HasSubstr;

std::string paper_refusal(const PaperPipeline& pipeline) {
  try {
    simulate(pipeline);
    return "accepted";
  } catch (const UsageError& error) {
    return error.what();
  }
}

TEST(PaperPipelineTest, OneTimeHoldsForEveryStage) {
  const PaperPipeline one{.stages = 3, .microbatches = 4, .forward = {1}, .backward = {2}};
  const PaperPipeline each{
      .stages = 3, .microbatches = 4, .forward = {1, 1, 1}, .backward = {2, 2, 2}};
  EXPECT_EQ(simulate(one).makespan, 18);
  EXPECT_EQ(simulate(each).makespan, 18);
  EXPECT_EQ(simulate({.stages = 3, .microbatches = 4}).makespan, 18) << "the defaults";
}

TEST(PaperPipelineTest, OnlyAScheduleThatSplitsTheBackwardHasAWeightHalf) {
  const PaperPipeline split{.schedule = "zero-bubble", .stages = 2, .microbatches = 2};
  const auto costs = costs_of(split, make_schedule(ScheduleKind::kZeroBubble, 2, 2));
  EXPECT_EQ(costs.stages[0].backward, 1);
  EXPECT_EQ(costs.stages[0].weight, 1);
  EXPECT_THAT(paper_refusal({.stages = 2, .microbatches = 2, .weight = {1}}),
              HasSubstr("weight: schedule gpipe does not split the backward"));
  EXPECT_THAT(
      paper_refusal({.schedule = "zero-bubble", .stages = 2, .microbatches = 2, .weight = {3}}),
      HasSubstr("more than the whole backward of 2"));
}

TEST(PaperPipelineTest, RefusalsNameTheSetting) {
  EXPECT_THAT(paper_refusal({.stages = 1}), HasSubstr("found 1 stage and 0 micro-batches; give"));
  EXPECT_THAT(paper_refusal({.stages = 3, .microbatches = 1, .forward = {1, 2}}),
              HasSubstr("forward: found 2 times, expected 1 or 3"));
  EXPECT_THAT(paper_refusal({.stages = 2, .microbatches = 1, .transfer = {-1}}),
              HasSubstr("transfer: found -1"));
  EXPECT_THAT(paper_refusal({.stages = 65537, .microbatches = 1}), HasSubstr("20 million"));
}

}  // namespace
}  // namespace lamp
