// That stages really work side by side, in their schedule's order, and hold no more than they need.
#include <ATen/Parallel.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/types.h>

#include <algorithm>
#include <atomic>
#include <chrono>

#include "lamp/base/memory_counter.h"
#include "lamp/pipeline/pipeline.h"
#include "support/random_chain.h"

namespace lamp {
namespace {

using namespace lamp::testing;  // NOLINT: the test's own support

torch::Tensor mean(const torch::Tensor& output, const MicroBatch&) { return output.mean(); }

TEST(PipelineWorkTest, StagesWorkAtTheSameTime) {
  at::set_num_threads(2);  // with one they take turns
  // The first stage waits in micro-batch 1 for the second one in micro-batch 0, and it for the
  // first: run in turn, they would wait until they give up.
  std::atomic<int> at_work = 0;
  std::atomic<bool> met = false;
  const auto meet = [&](const torch::Tensor& x, int microbatch) {
    if (RunContext::current()->microbatch != microbatch) return x * 1;
    ++at_work;
    const auto give_up = std::chrono::steady_clock::now() + std::chrono::seconds(10);
    while (!met && std::chrono::steady_clock::now() < give_up)
      if (at_work >= 2) met = true;
    --at_work;
    return x * 1;
  };
  const auto chain = std::make_shared<Sequence>(
      std::vector<Link>{{"a", as_layer([&](torch::Tensor x) { return meet(x, 1); })},
                        {"b", as_layer([&](torch::Tensor x) { return meet(x, 0); })}});
  Pipeline pipeline(chain, {.devices = {c10::kCPU, c10::kCPU},
                            .partition = partition_by_counts({1, 1}, 2),
                            .microbatches = 2});
  pipeline.step(torch::ones({2, 1}).requires_grad_(), mean);
  EXPECT_TRUE(met);
}

TEST(PipelineWorkTest, EveryStageKeepsItsSchedulesOrder) {
  const auto chain = random_chain({.seed = 12, .layers = 8});
  for (const ScheduleKind kind :
       {ScheduleKind::kNaive, ScheduleKind::kGPipe, ScheduleKind::k1F1B}) {
    Pipeline pipeline(chain, {.devices = std::vector<c10::Device>(3, c10::kCPU),
                              .schedule = kind,
                              .microbatches = 4,
                              .threads_per_stage = 1});
    const StepResult result =
        pipeline.step(torch::randn({4, kChannels, 2, 3, 2}, torch::kFloat64), mean);
    const Schedule schedule = make_schedule(kind, 3, 4);
    std::vector<std::vector<Action>> found(3);
    for (const TimelineEntry& event : result.timeline) {
      EXPECT_LE(event.start, event.end);
      found[static_cast<std::size_t>(event.stage)].push_back(
          {event.kind == WorkKind::kForward ? ActionKind::kForward : ActionKind::kBackward,
           event.microbatch});
    }
    EXPECT_EQ(found, schedule.actions) << to_string(kind);
    take_gradients(*chain);
  }
}

TEST(PipelineWorkTest, AfterAFaultNothingMoreIsBegun) {
  std::atomic<int> calls = 0;
  const auto chain = std::make_shared<Sequence>(
      std::vector<Link>{{"counts", as_layer([&](torch::Tensor x) {
                           TORCH_CHECK(++calls < 2, "the second micro-batch fails");
                           return x * 1;
                         })},
                        {"b", as_layer([](torch::Tensor x) { return x * 1; })}});
  Pipeline pipeline(chain, {.devices = {c10::kCPU, c10::kCPU},
                            .partition = partition_by_counts({1, 1}, 2),
                            .microbatches = 8});
  EXPECT_THROW(pipeline.step(torch::ones({8, 1}), mean), c10::Error);
  EXPECT_EQ(calls, 2);
}

// Eight tanh layers, which each keep their output, over two stages; a sample is 64 KiB.
class PipelineMemoryTest : public ::testing::Test {
 protected:
  static constexpr std::int64_t kSample = 64 << 10;
  static constexpr int kSamples = 8;
  static constexpr int kLayersPerStage = 4;
  static constexpr std::int64_t kScalars = 1 << 10;  // losses

  PipelineMemoryTest() {
    count_cpu_memory();
    std::vector<Link> links;
    for (int i = 0; i < 2 * kLayersPerStage; ++i)
      links.push_back(
          {"tanh" + std::to_string(i), as_layer([](torch::Tensor x) { return x.tanh(); })});
    chain_ = std::make_shared<Sequence>(std::move(links));
  }
  std::vector<std::int64_t> peaks(int microbatches, ScheduleKind kind, RecomputeRule rule) {
    Pipeline pipeline(chain_,
                      {.devices = {c10::kCPU, c10::kCPU},
                       .partition = partition_by_counts({kLayersPerStage, kLayersPerStage}, 8),
                       .schedule = kind,
                       .microbatches = microbatches,
                       .recompute = std::vector(2, rule),
                       .threads_per_stage = 1});
    return pipeline.step(torch::ones({kSamples, kSample / 4}).requires_grad_(), mean)
        .stage_peak_bytes;
  }
  std::shared_ptr<Sequence> chain_;
};

TEST_F(PipelineMemoryTest, WithoutRecomputationEveryMicroBatchInFlightKeepsItsActivations) {
  const std::int64_t layer = kSamples * kSample;
  for (const std::int64_t found : peaks(4, ScheduleKind::kGPipe, RecomputeRule::kNever)) {
    EXPECT_GE(found, kLayersPerStage * layer);
    EXPECT_LE(found, kLayersPerStage * layer + layer) << "and gradients of a micro-batch";
  }
  // Under 1f1b the last stage has one of the eight micro-batches in flight, the first two.
  const auto last = peaks(8, ScheduleKind::k1F1B, RecomputeRule::kNever);
  EXPECT_LE(last[1], (kLayersPerStage + 3) * layer / 8 + kScalars);
  EXPECT_LE(last[0], (2 * kLayersPerStage + 3) * layer / 8 + layer) << "and the input's gradient";
}

// O(N + L / K * N / M): what was handed over of the whole batch, and all layers of one micro-batch.
TEST_F(PipelineMemoryTest, RecomputationKeepsTheBoundariesAndOneMicroBatchOfActivations) {
  const std::int64_t layer = kSamples * kSample;
  for (const int microbatches : {2, 4, 8}) {
    const auto found = peaks(microbatches, ScheduleKind::kGPipe, RecomputeRule::kAlways);
    const std::int64_t part = layer / microbatches;
    EXPECT_GE(found[0], layer)
        << "the boundary, which the second stage's recomputation starts from";
    EXPECT_LE(found[0], layer + (kLayersPerStage + 3) * part);
    EXPECT_LE(found[1], (kLayersPerStage + 3) * part + layer) << "and the gradients handed back";
  }
}

}  // namespace
}  // namespace lamp
