// The devices that tests of tensors run on: the CPU, and a GPU where there is one.
//
//   class MyTest : public DeviceTest {};
//   TEST_P(MyTest, IsRight) { ... torch::ones({3}, device()) ... }
//   LAMP_TEST_ON_DEVICES(MyTest);
#pragma once

#include <ATen/Context.h>
#include <c10/core/Device.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <sstream>
#include <string>
#include <vector>

#include "lamp/base/device.h"
#include "lamp/base/errors.h"

namespace lamp::testing {

// "cpu" and, where the machine has a GPU's driver, "cuda". LAMP_TEST_DEVICES=cpu,cuda asks for more
// or less; what it names must be there. Cases for a GPU that is not there are not even listed,
// since each would cost a process to be skipped.
inline std::vector<std::string> devices_to_test() {
  const char* asked = std::getenv("LAMP_TEST_DEVICES");
  if (asked == nullptr)
    return std::filesystem::exists("/dev/nvidiactl") ? std::vector<std::string>{"cpu", "cuda"}
                                                     : std::vector<std::string>{"cpu"};
  std::vector<std::string> names;
  std::istringstream in(asked);
  for (std::string name; std::getline(in, name, ',');) names.push_back(name);
  return names;
}

inline bool is_here(const std::string& device) {
  try {
    return !parse_devices(device).empty();
  } catch (const UsageError&) {
    return false;
  }
}

// Why the device's cases do not run; empty if they do. A GPU's convolutions then keep all digits of
// fp32, which comparisons need.
inline std::string reason_to_skip(const std::string& device) {
  if (is_here(device)) {
    at::globalContext().setAllowTF32CuDNN(false);
    return "";
  }
  EXPECT_EQ(std::getenv("LAMP_TEST_DEVICES"), nullptr) << device << " was asked for";
  return "no device \"" + device + "\" here";
}

// How far results may lie apart: kernels of a GPU sum in another order each time.
inline double tolerance_on(c10::Device device, double cpu, double gpu) {
  return device.is_cpu() ? cpu : gpu;
}

class DeviceTest : public ::testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    if (const std::string why = reason_to_skip(GetParam()); !why.empty()) GTEST_SKIP() << why;
  }
  c10::Device device() const { return parse_devices(GetParam()).front(); }
  double tolerance(double cpu, double gpu) const { return tolerance_on(device(), cpu, gpu); }
};

#define LAMP_TEST_ON_DEVICES(Suite)                                                            \
  INSTANTIATE_TEST_SUITE_P(On, Suite, ::testing::ValuesIn(::lamp::testing::devices_to_test()), \
                           [](const auto& info) { return info.param; })

}  // namespace lamp::testing
