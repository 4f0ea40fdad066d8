// Counting.
#include "lamp/pipeline/stage_threads.h"

#include <algorithm>

namespace lamp {
namespace {

int cpu_stages(const std::vector<c10::Device>& devices) {
  return static_cast<int>(std::count_if(devices.begin(), devices.end(),
                                        [](c10::Device device) { return device.is_cpu(); }));
}

}  // namespace

bool is_crowded(const std::vector<c10::Device>& devices, int threads) {
  if (cpu_stages(devices) > std::max(threads, 1)) return true;
  return std::any_of(devices.begin(), devices.end(), [&](c10::Device device) {
    return !device.is_cpu() && std::count(devices.begin(), devices.end(), device) > 1;
  });
}

int stage_threads(const std::vector<c10::Device>& devices, int threads) {
  const int stages = cpu_stages(devices);
  if (stages == 0 || is_crowded(devices, threads)) return threads;
  return std::max(1, threads / stages);
}

}  // namespace lamp
