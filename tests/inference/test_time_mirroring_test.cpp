// Which axes are mirrored, and that flips undo themselves.
#include "lamp/inference/test_time_mirroring.h"

#include <gtest/gtest.h>

#include "lamp/base/errors.h"

namespace lamp {
namespace {

TEST(MirroringTest, AxesAreNamedOnceEach) {
  EXPECT_EQ(parse_mirror_axes("x,y,z"), (std::vector<int>{0, 1, 2}));
  EXPECT_EQ(parse_mirror_axes("z"), (std::vector<int>{2}));
  for (const char* text : {"", "w", "x,x", "xy"})
    EXPECT_THROW(parse_mirror_axes(text), UsageError) << text;
}

TEST(MirroringTest, EverySubsetOfTheAxesIsFlippedOnce) {
  const auto flips = mirror_flips({1, 2});
  EXPECT_EQ(flips, (std::vector<std::vector<std::int64_t>>{{}, {-2}, {-3}, {-2, -3}}));
  EXPECT_EQ(mirror_flips({0, 1, 2}).size(), 8U);
}

TEST(MirroringTest, LabelsWithSidesForbidTheLeftRightAxisWhereverItIs) {
  const std::map<int, std::string> sided = {{0, "background"}, {1, "Parotid_L"}, {2, "Parotid_R"}};
  const std::map<int, std::string> plain = {{0, "background"}, {1, "liver"}};
  Geometry straight;
  EXPECT_EQ(allowed_mirror_axes({0, 1, 2}, straight, sided), (std::vector<int>{1, 2}));
  EXPECT_EQ(allowed_mirror_axes({0, 1, 2}, straight, plain), (std::vector<int>{0, 1, 2}));
  Geometry sagittal;  // the grid's z runs to the patient's right
  sagittal.direction = {0, 0, -1, 1, 0, 0, 0, -1, 0};
  EXPECT_EQ(left_right_axis(sagittal), 2);
  EXPECT_EQ(allowed_mirror_axes({0, 1, 2}, sagittal, sided), (std::vector<int>{0, 1}));
}

}  // namespace
}  // namespace lamp
