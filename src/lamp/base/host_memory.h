// How much memory this process holds, held at most, and may still get, as Linux tells it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace lamp {

// Resident bytes of this process now; 0 if the system does not say.
std::int64_t resident_bytes();
// Its heap and anonymous maps, touched or not, as RLIMIT_DATA counts them; 0 likewise.
std::int64_t data_bytes();
// The most resident bytes since the start of the process or the last reset.
std::int64_t peak_resident_bytes();
// Needs no privilege; without effect where the kernel refuses it.
void reset_peak_resident_bytes();
// Gives freed heap pages back to the system, which a process that keeps its heap never does by
// itself. Touching them again costs a page fault each.
void release_free_memory();

// What this process may still take without swapping: the least of MemAvailable in /proc/meminfo,
// what the control groups (v1 or v2) leave, and the address space that `ulimit -v` leaves.
std::int64_t available_memory_bytes();
// What tensors of work that is yet to begin may take of it: under `ulimit -v` the stacks of further
// threads and the heap's holes take their part. At least a MiB, less than any work needs.
std::int64_t tensor_memory_bytes();
// The same with what may be swapped out, however slow that is: beyond it allocating ends in being
// killed.
std::int64_t most_memory_bytes();

// Whether `ulimit -v` sets a limit, of which nothing can be swapped out or freed by others.
bool has_address_limit();

// What is lacking for one thing that is about to take memory.
struct MemoryShortage {
  std::string needed;  // "6.0 TiB", rounded up
  std::string left;    // "1.2 GiB are available", "1.2 GiB of the given memory are left"
  bool limited;        // by what was given, not by the machine
};
// None if `needed_bytes` are no more than what is available, and than `given_bytes` where a limit
// is given.
std::optional<MemoryShortage> memory_shortage(double needed_bytes,
                                              std::optional<std::int64_t> given_bytes);

}  // namespace lamp
