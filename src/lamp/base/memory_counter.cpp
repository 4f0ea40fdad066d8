// A c10 allocator that wraps the one before it, and the device-generic statistics interface for
// CUDA.
#include "lamp/base/memory_counter.h"

#include <ATen/Context.h>
#include <c10/core/Allocator.h>
#include <c10/core/CachingDeviceAllocator.h>

#include <deque>
#include <mutex>
#include <utility>

namespace lamp {
namespace {

MemoryAccount whole_process;
thread_local MemoryAccount* charged = nullptr;

// Stands in front of every block, as large as torch's alignment so that the block stays aligned.
// oneDNN frees through the raw interface, which knows the block's address only.
struct alignas(64) Header {
  std::int64_t bytes;
  c10::Allocator* owner;
  MemoryAccount* account;  // beside the process's; null = none
};

void count(const Header& header, int sign) {
  whole_process.add(sign * header.bytes);
  if (header.account != nullptr) header.account->add(sign * header.bytes);
}

void release(void* block) {
  if (block == nullptr) return;
  Header* header = static_cast<Header*>(block) - 1;
  count(*header, -1);
  header->owner->raw_deallocate(header);
}

class CountingAllocator : public c10::Allocator {
 public:
  explicit CountingAllocator(c10::Allocator* next) : next_(next) {}

  c10::DataPtr allocate(std::size_t bytes) override {
    if (bytes == 0) return {nullptr, nullptr, &release, c10::Device(c10::kCPU)};
    auto* header = static_cast<Header*>(next_->raw_allocate(bytes + sizeof(Header)));
    *header = {static_cast<std::int64_t>(bytes), next_, charged};
    count(*header, 1);
    return {header + 1, header + 1, &release, c10::Device(c10::kCPU)};
  }
  c10::DeleterFnPtr raw_deleter() const override { return &release; }
  void copy_data(void* to, const void* from, std::size_t count) const override {
    default_copy_data(to, from, count);
  }

 private:
  c10::Allocator* next_;
};

c10::CachingDeviceAllocator::DeviceStats statistics(c10::Device device) {
  auto* allocator = dynamic_cast<c10::DeviceAllocator*>(c10::GetAllocator(device.type()));
  TORCH_CHECK(allocator != nullptr && allocator->initialized(), "no memory statistics on ", device);
  return allocator->getDeviceStats(device.index());
}

}  // namespace

void MemoryAccount::add(std::int64_t bytes) {
  const std::int64_t now = current_ += bytes;
  std::int64_t seen = peak_.load();
  while (now > seen && !peak_.compare_exchange_weak(seen, now)) {
  }
}

MemoryAccount& stage_account(int stage) {
  static std::mutex mutex;
  static auto& accounts = *new std::deque<MemoryAccount>;  // outlives every tensor; never moves any
  const std::lock_guard lock(mutex);
  while (static_cast<int>(accounts.size()) <= stage) accounts.emplace_back();
  return accounts[static_cast<std::size_t>(stage)];
}

AccountScope::AccountScope(MemoryAccount& account) : before_(std::exchange(charged, &account)) {}
AccountScope::~AccountScope() { charged = before_; }

void count_cpu_memory() {
  static CountingAllocator* const kCounter = [] {
    auto* counter =
        new CountingAllocator(c10::GetAllocator(c10::kCPU));  // lives as long as any tensor may
    c10::SetAllocator(c10::kCPU, counter, /*priority=*/100);
    return counter;
  }();
  (void)kCounter;
}

std::int64_t allocated_bytes(c10::Device device) {
  return device.is_cpu() ? whole_process.allocated_bytes()
                         : statistics(device).allocated_bytes[0].current;
}

std::int64_t peak_bytes(c10::Device device) {
  return device.is_cpu() ? whole_process.peak_bytes() : statistics(device).allocated_bytes[0].peak;
}

void reset_peak_bytes(c10::Device device) {
  if (device.is_cpu()) {
    whole_process.reset_peak();
    return;
  }
  auto* allocator = dynamic_cast<c10::DeviceAllocator*>(c10::GetAllocator(device.type()));
  TORCH_CHECK(allocator != nullptr, "no memory statistics on ", device);
  allocator->resetPeakStats(device.index());
}

}  // namespace lamp
