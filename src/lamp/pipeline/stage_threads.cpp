// Counting.
#include "lamp/pipeline/stage_threads.h"

#include <algorithm>
#include <cstddef>

namespace lamp {
namespace {

constexpr const char* kHost = "cpu";

std::ptrdiff_t stages_on(const std::vector<std::string>& devices, const std::string& device) {
  return std::count(devices.begin(), devices.end(), device);
}

}  // namespace

bool is_crowded(const std::vector<std::string>& devices, int threads) {
  if (stages_on(devices, kHost) > std::max(threads, 1)) return true;
  return std::any_of(devices.begin(), devices.end(), [&](const std::string& device) {
    return device != kHost && stages_on(devices, device) > 1;
  });
}

bool take_turns(const std::vector<std::string>& devices, int threads, ScheduleKind schedule,
                int microbatches) {
  if (is_crowded(devices, threads)) return true;
  return (microbatches == 1 || schedule == ScheduleKind::kNaive) &&
         stages_on(devices, kHost) == std::ssize(devices);
}

int sharing_stages(const std::vector<std::string>& devices, int threads) {
  if (is_crowded(devices, threads)) return 1;
  return static_cast<int>(std::max<std::ptrdiff_t>(stages_on(devices, kHost), 1));
}

int stage_threads(const std::vector<std::string>& devices, int threads) {
  return std::max(1, threads / sharing_stages(devices, threads));
}

}  // namespace lamp
