// Counts what torch allocates, so that peak memory is a number on any machine: a counting allocator
// on the CPU, the caching allocator's own statistics on CUDA.
#pragma once

#include <c10/core/Device.h>

#include <atomic>
#include <cstdint>

namespace lamp {

// Puts a counter in front of torch's CPU allocator, for the rest of the process; a second call does
// nothing. Call it before the tensors that shall be counted. Costs two atomic additions an
// allocation.
void count_cpu_memory();

// A part of the CPU's memory that is counted apart, such as that of one pipeline stage: what a
// thread allocates within an AccountScope, until it is freed, by whichever thread. Thread-safe.
class MemoryAccount {
 public:
  std::int64_t allocated_bytes() const { return current_; }
  std::int64_t peak_bytes() const { return peak_; }
  void reset_peak() { peak_ = current_.load(); }
  void add(std::int64_t bytes);  // the allocator's

 private:
  std::atomic<std::int64_t> current_ = 0;
  std::atomic<std::int64_t> peak_ = 0;
};

// One for each index, for the rest of the process, because tensors outlive pipelines; pipelines
// that live at the same time share them.
MemoryAccount& stage_account(int stage);

// Charges this thread's allocations to the account while it lives.
class AccountScope {
 public:
  explicit AccountScope(MemoryAccount& account);
  ~AccountScope();
  AccountScope(const AccountScope&) = delete;
  AccountScope& operator=(const AccountScope&) = delete;

 private:
  MemoryAccount* before_;
};

// Bytes that tensors on `device` hold now. On the CPU only those allocated since
// count_cpu_memory().
std::int64_t allocated_bytes(c10::Device device);
// The most since the last reset. Thread-safe.
std::int64_t peak_bytes(c10::Device device);
void reset_peak_bytes(c10::Device device);

}  // namespace lamp
