#include "lamp/training/bench.h"

#include <gtest/gtest.h>
#include <torch/types.h>

#include "lamp/base/errors.h"
#include "lamp/base/log.h"
#include "lamp/base/memory_counter.h"

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
