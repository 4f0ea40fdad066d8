// One "name=number" after another.
#include "lamp/execution/device_grid.h"

#include <charconv>
#include <sstream>

namespace lamp {
namespace {

constexpr std::int64_t kMostOfAKind = 1024;

std::optional<std::int64_t> grid_number(const std::string& text) {
  std::int64_t number = 0;
  const char* end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data(), end, number);
  if (error != std::errc() || rest != end || number < 1 || number > kMostOfAKind)
    return std::nullopt;
  return number;
}

}  // namespace

std::optional<DeviceGrid> parse_device_grid(const std::string& text) {
  if (text.empty() || text.back() == ',') return std::nullopt;
  DeviceGrid grid;
  std::string seen = ",";
  std::istringstream parts(text);
  for (std::string part; std::getline(parts, part, ',');) {
    const std::size_t equals = part.find('=');
    if (equals == std::string::npos) return std::nullopt;
    const std::string name = part.substr(0, equals);
    const auto number = grid_number(part.substr(equals + 1));
    if (!number || seen.find("," + name + ",") != std::string::npos) return std::nullopt;
    seen += name + ",";
    if (name == "replicas")
      grid.replicas = *number;
    else if (name == "stages")
      grid.stages = *number;
    else if (name == "slabs")
      grid.slabs = *number;
    else
      return std::nullopt;
  }
  return grid;
}

std::string to_string(const DeviceGrid& grid) {
  return "replicas=" + std::to_string(grid.replicas) + ",stages=" + std::to_string(grid.stages) +
         ",slabs=" + std::to_string(grid.slabs);
}

}  // namespace lamp
