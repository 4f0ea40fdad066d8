// Every byte is charged where it was allocated, and given back there, whoever frees it.
#include "lamp/base/memory_counter.h"

#include <gtest/gtest.h>
#include <torch/types.h>

#include <thread>

namespace lamp {
namespace {

const c10::Device kCpu(c10::kCPU);
constexpr std::int64_t kMega = 1 << 20;

torch::Tensor bytes(std::int64_t count) { return torch::empty({count}, torch::kUInt8); }

TEST(MemoryCounterTest, CountsWhatIsHeldAndTheMostOfIt) {
  count_cpu_memory();
  const std::int64_t before = allocated_bytes(kCpu);
  reset_peak_bytes(kCpu);
  torch::Tensor kept = bytes(3 * kMega);
  { const torch::Tensor passing = bytes(5 * kMega); }
  EXPECT_EQ(allocated_bytes(kCpu) - before, 3 * kMega);
  EXPECT_EQ(peak_bytes(kCpu) - before, 8 * kMega);
  kept.reset();
  EXPECT_EQ(allocated_bytes(kCpu), before);
}

TEST(MemoryCounterTest, AccountsAreChargedByScopeAndCreditedByWhoeverFrees) {
  count_cpu_memory();
  MemoryAccount& outer = stage_account(101);
  MemoryAccount& inner = stage_account(102);
  torch::Tensor a, b, c;
  {
    const AccountScope scope(outer);
    a = bytes(2 * kMega);
    {
      const AccountScope nested(inner);
      b = bytes(3 * kMega);
    }
    c = bytes(kMega);
  }
  const torch::Tensor nobodys = bytes(7 * kMega);
  EXPECT_EQ(outer.allocated_bytes(), 3 * kMega);
  EXPECT_EQ(inner.allocated_bytes(), 3 * kMega);
  std::thread([&] { a.reset(); }).join();
  EXPECT_EQ(outer.allocated_bytes(), kMega);
  EXPECT_EQ(outer.peak_bytes(), 3 * kMega);
  outer.reset_peak();
  EXPECT_EQ(outer.peak_bytes(), kMega);
  std::thread([&] {
    const torch::Tensor other_thread = bytes(kMega);
    EXPECT_EQ(outer.allocated_bytes(), kMega) << "a scope is its thread's own";
  }).join();
}

}  // namespace
}  // namespace lamp
