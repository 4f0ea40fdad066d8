// How devices are shared out: replicas take samples of a batch, stages take layers, slabs take
// planes of every volume. The devices' order: replica by replica, in each stage by stage, and in
// each stage slab by slab.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

namespace lamp {

struct DeviceGrid {
  std::int64_t replicas = 1;
  std::int64_t stages = 1;
  std::int64_t slabs = 1;

  std::int64_t devices() const { return replicas * stages * slabs; }
  // Of a device in that order.
  std::size_t row(std::int64_t replica, std::int64_t stage, std::int64_t slab) const {
    return static_cast<std::size_t>((replica * stages + stage) * slabs + slab);
  }
  bool operator==(const DeviceGrid&) const = default;
};

// Of "stages=2,slabs=2" in any order; what is missing is 1. Nothing for any other text.
std::optional<DeviceGrid> parse_device_grid(const std::string& text);
// "replicas=1,stages=2,slabs=2".
std::string to_string(const DeviceGrid& grid);

// For messages: what execution.split may be.
inline constexpr const char* kExpectedGrid =
    "\"auto\" or replicas=R,stages=K,slabs=L (whole numbers from 1 to 1024, missing ones are 1)";

}  // namespace lamp
