// What the user may call a device, and whether a GPU that is here computes.
#include "lamp/base/device.h"

#include <gtest/gtest.h>
#include <torch/types.h>

#include "lamp/base/errors.h"
#include "support/devices.h"

namespace lamp {
namespace {

TEST(DeviceNamesTest, SeveralAreStages) {
  const c10::Device cpu(c10::kCPU);
  EXPECT_EQ(parse_devices("cpu"), std::vector{cpu});
  EXPECT_EQ(parse_devices("cpu,cpu,cpu"), std::vector(3, cpu));
  EXPECT_FALSE(parse_devices("auto").empty());
}

TEST(DeviceNamesTest, RefusesWhatIsNone) {
  for (const char* text : {"", "cpu,", ",cpu", "gpu", "cuda:", "cuda:x", "cuda:-1", "cuda:999"})
    EXPECT_THROW(parse_devices(text), UsageError) << text;
}

// The one test that tells on every machine whether others ran on a GPU.
TEST(DeviceNamesTest, AGpuComputesWhereThereIsOne) {
  if (!testing::is_here("cuda")) GTEST_SKIP() << "no CUDA device: tests of tensors ran on the CPU";
  const c10::Device gpu = parse_devices("cuda").front();
  EXPECT_EQ(torch::ones({1000}, gpu).sum().item<double>(), 1000);
}

}  // namespace
}  // namespace lamp
