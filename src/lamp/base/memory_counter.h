// Counts what torch allocates, so that peak memory is a number on any machine: a counting allocator
// on the CPU, the caching allocator's own statistics on CUDA.
#pragma once

#include <c10/core/Device.h>

#include <cstdint>

namespace lamp {

// Puts a counter in front of torch's CPU allocator, for the rest of the process; a second call does
// nothing. Call it before the tensors that shall be counted. Costs two atomic additions an
// allocation.
void count_cpu_memory();

// Bytes that tensors on `device` hold now. On the CPU only those allocated since
// count_cpu_memory().
std::int64_t allocated_bytes(c10::Device device);
// The most since the last reset. Thread-safe.
std::int64_t peak_bytes(c10::Device device);
void reset_peak_bytes(c10::Device device);

}  // namespace lamp
