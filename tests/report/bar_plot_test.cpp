#include "lamp/report/bar_plot.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

namespace lamp {
namespace {

using ::testing::HasSubstr;

TEST(BarPlotTest, ShowsMeanDeviationAndEveryMeasurement) {
  const std::string svg = bar_plot_svg(
      {.title = "a < b", .axis = "Dice, %", .bars = {{"small", {30, 34}}, {"whole", {80, 82}}}});
  EXPECT_THAT(svg, HasSubstr("a &lt; b"));
  EXPECT_THAT(svg, HasSubstr("32.0 ± 2.8"));
  std::size_t dots = 0;
  for (auto at = svg.find("<circle"); at != std::string::npos; at = svg.find("<circle", at + 1))
    ++dots;
  EXPECT_EQ(dots, 4U);
}

TEST(BarPlotTest, TheLongestNameHasRoom) {
  const std::string name(60, 'm');
  const std::string svg = bar_plot_svg({.title = "t", .bars = {{"a", {1}}, {name, {2}}}});
  const std::size_t text = svg.rfind("<text x=\"", svg.find(name));
  EXPECT_GT(std::stod(svg.substr(text + 9)), 6.6 * 60);  // its right end, at 6.6 a letter
}

TEST(BarPlotTest, ARowWithoutMeasurementsSaysSo) {
  const std::string svg = bar_plot_svg({.title = "t", .bars = {{"later", {}}}});
  EXPECT_THAT(svg, HasSubstr("not there yet"));
  EXPECT_EQ(svg.find("nan"), std::string::npos);
}

TEST(BarPlotTest, DeviationIsThatOfASample) {
  EXPECT_DOUBLE_EQ(deviation_of({1, 3}), std::sqrt(2.0));
  EXPECT_DOUBLE_EQ(deviation_of({5}), 0);
  EXPECT_TRUE(std::isnan(mean_of({})));
}

}  // namespace
}  // namespace lamp
