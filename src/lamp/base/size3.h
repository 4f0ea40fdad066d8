// How many voxels a volume, a patch or a window has along its three axes. People, options, files
// and geometry say x, y, z; tensors are [.., D, H, W]. Two types, so that neither is taken for the
// other.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace lamp {

struct Shape3;

// x, y, z.
struct Size3 : std::array<std::int64_t, 3> {
  constexpr std::int64_t voxels() const { return (*this)[0] * (*this)[1] * (*this)[2]; }
  constexpr Shape3 dhw() const;
};

// D, H, W, as the last three dimensions of a tensor; also the place of a voxel in one.
struct Shape3 : std::array<std::int64_t, 3> {
  constexpr Size3 xyz() const { return {(*this)[2], (*this)[1], (*this)[0]}; }
};

constexpr Shape3 Size3::dhw() const { return {(*this)[2], (*this)[1], (*this)[0]}; }

bool operator==(const Size3&, const Shape3&) = delete;

// The last three of a tensor's sizes.
template <typename Sizes>
Shape3 last_three(const Sizes& sizes) {
  const std::size_t end = sizes.size();
  return {sizes[end - 3], sizes[end - 2], sizes[end - 1]};
}

// The longest side that can be asked for, in voxels: tells a slip of the keyboard from a volume.
inline constexpr std::int64_t kLongestSide = 1 << 16;

// "128,128,96" (base/json.h has the same for [128, 128, 96]); nothing unless all of the text is
// three whole numbers from 1 to kLongestSide.
std::optional<Size3> parse_size3(std::string_view text);
// What it takes, for messages: "X,Y,Z such as 128,128,96, each 1 to 65536".
std::string expected_size3();
// The same of [128, 128, 96]: "three whole numbers [x, y, z], each 1 to 65536".
std::string expected_size3_list();

}  // namespace lamp

// Lets `const auto& [x, y, z] = size` through.
template <>
struct std::tuple_size<lamp::Size3> : std::integral_constant<std::size_t, 3> {};
template <std::size_t I>
struct std::tuple_element<I, lamp::Size3> {
  using type = std::int64_t;
};
template <>
struct std::tuple_size<lamp::Shape3> : std::integral_constant<std::size_t, 3> {};
template <std::size_t I>
struct std::tuple_element<I, lamp::Shape3> {
  using type = std::int64_t;
};
