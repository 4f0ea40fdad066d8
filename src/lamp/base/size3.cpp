// One rule for what people type and for what files hold.
#include "lamp/base/size3.h"

#include <charconv>
#include <system_error>

namespace lamp {

std::optional<Size3> parse_size3(std::string_view text) {
  Size3 size{};
  const char* at = text.data();
  const char* const end = at + text.size();
  for (std::size_t axis = 0; axis < 3; ++axis) {
    const auto [next, error] = std::from_chars(at, end, size[axis]);
    const bool separated = axis == 2 ? next == end : next != end && *next == ',';
    if (error != std::errc() || !separated || size[axis] < 1 || size[axis] > kLongestSide)
      return std::nullopt;
    at = next + 1;
  }
  return size;
}

std::string expected_size3() {
  return "X,Y,Z such as 128,128,96, each 1 to " + std::to_string(kLongestSide);
}

std::string expected_size3_list() {
  return "three whole numbers [x, y, z], each 1 to " + std::to_string(kLongestSide);
}

}  // namespace lamp
