// Readers of /proc and of the control groups' files.
#include "lamp/base/host_memory.h"

#include <malloc.h>
#include <sys/resource.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <limits>
#include <optional>
#include <sstream>
#include <string>

#include "lamp/base/text.h"

namespace lamp {
namespace {

namespace fs = std::filesystem;

constexpr std::int64_t kNoLimit = std::numeric_limits<std::int64_t>::max();

// The number behind `key` in a file of "key: 12 kB" or "key 12" lines.
std::optional<std::int64_t> field(const fs::path& file, const std::string& key) {
  std::ifstream in(file);
  for (std::string line; std::getline(in, line);) {
    std::istringstream words(line);
    std::string name, unit;
    std::int64_t value = 0;
    if (!(words >> name >> value)) continue;
    if (name == key) return words >> unit && unit == "kB" ? value * 1024 : value;
  }
  return std::nullopt;
}

// A file that holds one number; "max" counts as none.
std::optional<std::int64_t> number_in(const fs::path& file) {
  std::ifstream in(file);
  std::int64_t value = 0;
  if (in >> value) return value;
  return std::nullopt;
}

std::int64_t left_in_group(const fs::path& folder, bool v2) {
  const auto limit = number_in(folder / (v2 ? "memory.max" : "memory.limit_in_bytes"));
  const auto used = number_in(folder / (v2 ? "memory.current" : "memory.usage_in_bytes"));
  if (!limit || !used) return kNoLimit;
  // Pages of files that nobody uses now count as used, but the kernel takes them back first.
  const std::int64_t cache = field(folder / "memory.stat", "inactive_file").value_or(0);
  return std::max<std::int64_t>(*limit - *used + cache, 0);
}

// Of swap; version 1 counts memory and swap together, so that nothing is promised there.
std::int64_t swap_left_in_group(const fs::path& folder, bool v2) {
  if (!v2) return 0;
  const auto limit = number_in(folder / "memory.swap.max");
  const auto used = number_in(folder / "memory.swap.current");
  return limit && used ? std::max<std::int64_t>(*limit - *used, 0) : kNoLimit;
}

std::int64_t sum(std::int64_t a, std::int64_t b) { return a > kNoLimit - b ? kNoLimit : a + b; }

// The group of this process and all groups above it; in a container only the root is seen. swap: of
// the system.
std::int64_t left_in_groups(std::int64_t swap = 0) {
  std::int64_t left = kNoLimit;
  std::ifstream groups("/proc/self/cgroup");
  for (std::string line; std::getline(groups, line);) {
    const bool v2 = line.rfind("0::", 0) == 0;
    if (!v2 && line.find(":memory:") == std::string::npos) continue;
    const fs::path root = v2 ? "/sys/fs/cgroup" : "/sys/fs/cgroup/memory";
    fs::path path = root / fs::path(line.substr(line.rfind(':') + 1)).relative_path();
    for (;; path = path.parent_path()) {
      swap = std::min(swap, swap_left_in_group(path, v2));
      left = std::min(left, sum(left_in_group(path, v2), swap));
      if (path == root || path.string().size() <= root.string().size()) break;
    }
  }
  return left;
}

// Address space is taken by what is no tensor as well: by the stacks of threads that are yet to
// start (torch's pools, one team for each worker, loaders), and by the holes of a heap (a process
// was found to take 1.22 times its tensors).
constexpr std::int64_t kThreadsToCome = 24;
constexpr double kTensorShareOfAddresses = 0.8;
constexpr std::int64_t kLeastForTensors = std::int64_t{1} << 20;  // too little for any work

std::int64_t stack_bytes() {
  constexpr std::int64_t kUsual = std::int64_t{8} << 20;
  rlimit limit{};
  if (getrlimit(RLIMIT_STACK, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) return kUsual;
  return static_cast<std::int64_t>(limit.rlim_cur);
}

std::int64_t left_of_address_space() {
  rlimit limit{};
  if (getrlimit(RLIMIT_AS, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) return kNoLimit;
  const std::int64_t used = field("/proc/self/status", "VmSize:").value_or(0);
  return std::max<std::int64_t>(static_cast<std::int64_t>(limit.rlim_cur) - used, 0);
}

std::int64_t left_for_tensors() {
  const std::int64_t left = left_of_address_space();
  if (left == kNoLimit) return kNoLimit;
  const std::int64_t stacks = kThreadsToCome * stack_bytes();
  return std::max(
      static_cast<std::int64_t>(kTensorShareOfAddresses * static_cast<double>(left - stacks)),
      kLeastForTensors);
}

}  // namespace

std::int64_t resident_bytes() { return field("/proc/self/status", "VmRSS:").value_or(0); }

std::int64_t data_bytes() { return field("/proc/self/status", "VmData:").value_or(0); }

std::int64_t peak_resident_bytes() { return field("/proc/self/status", "VmHWM:").value_or(0); }

void reset_peak_resident_bytes() {
  std::ofstream("/proc/self/clear_refs") << "5";  // see proc(5)
}

void release_free_memory() { malloc_trim(0); }

std::int64_t available_memory_bytes() {
  const std::int64_t system = field("/proc/meminfo", "MemAvailable:").value_or(kNoLimit);
  return std::min({system, left_in_groups(), left_of_address_space()});
}

std::int64_t tensor_memory_bytes() {
  return std::max(std::min(available_memory_bytes(), left_for_tensors()), kLeastForTensors);
}

bool has_address_limit() { return left_of_address_space() != kNoLimit; }

std::int64_t most_memory_bytes() {
  const std::int64_t swap = field("/proc/meminfo", "SwapFree:").value_or(0);
  const std::int64_t system = field("/proc/meminfo", "MemAvailable:").value_or(kNoLimit);
  return std::min({sum(system, swap), left_in_groups(swap), left_for_tensors()});
}

std::optional<MemoryShortage> memory_shortage(double needed_bytes,
                                              std::optional<std::int64_t> given_bytes) {
  const std::int64_t available = available_memory_bytes();
  const bool limited = given_bytes && *given_bytes < available;
  const std::int64_t most = limited ? *given_bytes : available;
  if (needed_bytes <= static_cast<double>(most)) return std::nullopt;
  return MemoryShortage{
      .needed = need_bytes_text(static_cast<std::int64_t>(std::min(needed_bytes, 9e18))),
      .left = bytes_text(most) + (limited ? " of the given memory are left" : " are available"),
      .limited = limited};
}

}  // namespace lamp
