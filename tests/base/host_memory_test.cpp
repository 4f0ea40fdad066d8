// What the process may still take.
#include "lamp/base/host_memory.h"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cstdint>

namespace lamp {
namespace {

constexpr std::int64_t kGiB = std::int64_t{1} << 30;

// Under a limit on address space: less than what lies between the process and the limit, by the
// stacks of threads to come at the least; a MiB where that is used up.
TEST(HostMemoryTest, AnAddressSpaceLimitLeavesRoomForStacks) {
  const auto under_limit = [](std::int64_t beyond) {
    const rlimit space{static_cast<rlim_t>(16 * kGiB + beyond), RLIM_INFINITY};
    rlimit stack{.rlim_cur = rlim_t{8} << 20, .rlim_max = RLIM_INFINITY};
    setrlimit(RLIMIT_STACK, &stack);
    setrlimit(RLIMIT_AS, &space);
    return tensor_memory_bytes();
  };
  EXPECT_EXIT(
      {
        const bool right = under_limit(0) < 16 * kGiB - 24 * (std::int64_t{8} << 20);
        _exit(right ? 7 : 1);
      },
      ::testing::ExitedWithCode(7), "");
  EXPECT_EXIT(_exit(under_limit(-16 * kGiB + 1) == 1 << 20 ? 7 : 1), ::testing::ExitedWithCode(7),
              "");
}

}  // namespace
}  // namespace lamp
