#include "lamp/training/bench.h"

#include <ATen/Parallel.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/types.h>

#include "lamp/base/errors.h"
#include "lamp/base/files.h"
#include "lamp/base/log.h"
#include "lamp/base/memory_counter.h"
#include "lamp/execution/plan_json.h"
#include "lamp/nets/net_factory.h"
#include "lamp/training/bench_wish.h"
#include "support/temporary_folder.h"

namespace lamp {
namespace {

BenchOptions small_bench() {
  BenchOptions options{
      .input = {24, 16, 20}, .execution = {.device = "cpu"}, .rounds = 2, .seed = 3};
  options.net = {.name = "unet", .width = 4, .depth = 2, .classes = 3};
  return options;
}

TEST(BenchTest, AStepGivesTheDocumentedFieldsAndTheSameFiguresEachTime) {
  const Json first = bench_step(small_bench());
  for (const char* field :
       {"net", "width", "device", "stages", "schedule", "microbatches", "recompute", "precision",
        "layout", "seconds", "loss", "gradient_norm", "peak_bytes"})
    EXPECT_TRUE(first.contains(field)) << field;
  EXPECT_EQ(first["seconds"].size(), 2U);
  EXPECT_GT(first["gradient_norm"].get<double>(), 0);
  const Json second = bench_step(small_bench());
  EXPECT_EQ(first["loss"], second["loss"]);
  EXPECT_EQ(first["gradient_norm"], second["gradient_norm"]);
  BenchOptions other = small_bench();
  other.seed = 4;
  EXPECT_NE(first["loss"], bench_step(other)["loss"]);
}

TEST(BenchTest, PeakBytesGrowWithTheInput) {
  BenchOptions large = small_bench();
  large.input = {48, 32, 40};
  const double ratio = bench_step(large)["peak_bytes"][0].get<double>() /
                       bench_step(small_bench())["peak_bytes"][0].get<double>();
  EXPECT_GT(ratio, 4);
  EXPECT_LT(ratio, 9);
}

TEST(BenchTest, TheFoldedNetworkAgreesWithTheOneItWasMadeFrom) {
  const Json result = bench_segment(small_bench());
  EXPECT_GT(result["unfolded"]["speedup"].get<double>(), 0);
  EXPECT_GE(result["unfolded"]["same_labels"].get<double>(), 0.999);
  EXPECT_LE(result["unfolded"]["largest_difference"].get<double>(),
            1e-4 * result["unfolded"]["largest_logit"].get<double>());
  BenchOptions windows = small_bench();
  windows.window = WindowOptions{.size = {16, 16, 16}};
  EXPECT_EQ(bench_segment(windows)["patch"], Json({16, 16, 16}));
  windows.window->size = {16, 4, 16};
  EXPECT_THROW(bench_segment(windows), UsageError) << "smaller than the network's stride of 8";
}

TEST(BenchTest, SeveralDevicesGiveTheScoresOfOne) {
  const auto links = make_network(small_bench().net).chain->size();
  for (const bool in_windows : {false, true}) {
    BenchOptions options = small_bench();
    if (in_windows) options.window = WindowOptions{.size = {16, 16, 16}};
    const Json one = bench_segment(options);
    options.execution.device = "cpu,cpu";
    const Json two = bench_segment(options);
    EXPECT_EQ(two["device"], "cpu,cpu");
    ASSERT_EQ(two["partition"].size(), 2U);
    EXPECT_EQ(two["partition"][0]["first"], 0);
    EXPECT_EQ(two["partition"][1]["first"], two["partition"][0]["last"].get<int>() + 1);
    EXPECT_LT(two["partition"][1]["last"], links);
    EXPECT_EQ(two["partition"][1]["last"], one["partition"][0]["last"]);
    EXPECT_EQ(two["peak_bytes"].size(), 1U) << "they share one memory";
    EXPECT_GE(two["unfolded"]["same_labels"].get<double>(), 0.999);
    const double logit = one["unfolded"]["largest_logit"].get<double>();
    EXPECT_NEAR(two["unfolded"]["largest_logit"].get<double>(), logit, 1e-5 * logit);
  }
}

class SegmentPlanTest : public ::testing::Test {
 protected:
  SegmentPlanTest() {
    PlanOptions wish{.input = {16, 24, 32}, .batch = 4};
    wish.net = small_bench().net;
    wish.execution = {.device = "cpu,cpu", .layout = "contiguous", .costs = "shapes"};
    Json plan = to_json(choose_plan(wish));
    plan["threads"] = 1;
    write_file(file(), dump_json(plan));
  }
  ~SegmentPlanTest() override { at::set_num_threads(threads_); }
  std::string file() const { return (folder_ / "plan.json").string(); }

  const testing::TemporaryFolder folder_;
  const int threads_ = at::get_num_threads();
};

TEST_F(SegmentPlanTest, APlanOfSeveralDevicesIsObeyed) {
  const Json bench = bench_segment(parse_segment_wish({.rounds = 1, .plan = file()}));
  EXPECT_EQ(bench["device"], "cpu,cpu");
  EXPECT_EQ(bench["partition"].size(), 2U);
  EXPECT_EQ(bench["layout"], "contiguous");
  EXPECT_EQ(bench["precision"], "fp32");
  EXPECT_EQ(bench["threads"], 1);
  EXPECT_EQ(bench["classes"], 3);
  EXPECT_EQ(bench["input"], Json({16, 24, 32}));
  EXPECT_EQ(bench["batch"], 1) << "one volume, whatever the batch of a step";
}

TEST_F(SegmentPlanTest, WhatSaysOtherwiseThanThePlanIsRefused) {
  const auto field_of = [&](const BenchWish& wish) {
    try {
      bench_segment(parse_segment_wish(wish));
    } catch (const UsageError& error) {
      return std::string(error.what());
    }
    return std::string();
  };
  EXPECT_THAT(field_of({.execution = {{"device", "cpu"}}, .plan = file()}),
              ::testing::HasSubstr("device: cpu,cpu in the plan, cpu here"));
  EXPECT_THAT(field_of({.execution = {{"layout", "channels_last"}}, .plan = file()}),
              ::testing::HasSubstr("layout: contiguous in the plan, channels_last here"));
  EXPECT_THAT(field_of({.net = {{"width", 8}}, .plan = file()}),
              ::testing::HasSubstr("net.width: 4 in the plan, 8 here"));
}

TEST(BenchTest, Bf16LossIsCloseToFp32) {
  set_log_level(LogLevel::kError);
  BenchOptions reduced = small_bench();
  reduced.execution.precision = "bf16";
  const double exact = bench_step(small_bench())["loss"].get<double>();
  EXPECT_NEAR(bench_step(reduced)["loss"].get<double>(), exact, 0.02 * exact);
}

TEST(MemoryCounterTest, CountsWhatTensorsHold) {
  count_cpu_memory();
  const std::int64_t before = allocated_bytes(c10::kCPU);
  reset_peak_bytes(c10::kCPU);
  {
    const torch::Tensor a = torch::ones({1000});
    EXPECT_EQ(allocated_bytes(c10::kCPU) - before, 4000);
    const torch::Tensor b = torch::ones({500});
  }
  EXPECT_EQ(allocated_bytes(c10::kCPU), before);
  EXPECT_EQ(peak_bytes(c10::kCPU) - before, 6000);
}

}  // namespace
}  // namespace lamp
