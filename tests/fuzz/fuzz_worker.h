// One format's inputs, one after the other, in a process that may die of any of them.
#pragma once

#include <sys/types.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <filesystem>
#include <string>

#include "fuzz/fuzz_format.h"

namespace lamp::fuzz {

struct FuzzOptions {
  std::uint64_t seed = 1;
  std::int64_t first = 0;
  std::int64_t count = 10000;
  double seconds = 5;          // of the processor, for one input
  std::filesystem::path keep;  // where the inputs of findings go
};

inline constexpr std::size_t kMostReaders = 8;

// Shared between the worker and the one who watches it, and left when the worker dies.
struct Progress {
  std::atomic<std::int64_t> next;     // the input to go on with; next - 1 is the one being read
  std::atomic<std::int64_t> largest;  // bytes
  std::atomic<std::int64_t> findings;
  std::array<std::atomic<std::int64_t>, kMostReaders> taken, refused;
};

// How a worker ends that was not killed by an input.
enum WorkerExit : int { kWorkerDone = 0, kWorkerTooSlow = 77, kWorkerTooLarge = 78 };

// Reads the inputs from progress.next on, in `folder`; does not return.
[[noreturn]] void work(const FuzzFormat& format, const FuzzOptions& options,
                       const std::filesystem::path& folder, Progress& progress);

// Copies the files of input `number` from `folder`; returns where they are.
std::filesystem::path keep_input(const FuzzFormat& format, const FuzzOptions& options,
                                 const std::filesystem::path& folder, std::int64_t number);

}  // namespace lamp::fuzz
