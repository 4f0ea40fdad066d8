#include "lamp/report/timeline.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "lamp/base/json.h"

namespace lamp {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

TimelinePicture small_picture() {
  return {.title = "a < b & c",
          .stages = 2,
          .bars = {{0, "forward", 0, 0, 1, 0},
                   {0, "transfer", 0, 1, 2, 1},
                   {1, "forward", 0, 2, 3, 1},
                   {1, "backward", 0, 3, 4, 1}}};
}

int count(const std::string& text, const std::string& part) {
  int found = 0;
  for (auto at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++found;
  return found;
}

TEST(TimelineSvgTest, ShowsEveryBarTheAxisAndTheBubble) {
  const std::string svg = timeline_svg(small_picture());
  EXPECT_EQ(count(svg, "<title>"), 4);
  EXPECT_THAT(svg, HasSubstr("transfer 0 to stage 1: 1 to 2"));
  EXPECT_THAT(svg, HasSubstr("time (s)"));
  EXPECT_THAT(svg, HasSubstr("bubble 62.5 %"));  // 3 of 8 are busy
  EXPECT_THAT(svg, HasSubstr("waits 75 %"));
  EXPECT_THAT(svg, Not(HasSubstr(">weight<")));  // only kinds that occur are in the legend
}

TEST(TimelineSvgTest, EscapesItsTitleAndClosesWhatItOpens) {
  const std::string svg = timeline_svg(small_picture());
  EXPECT_THAT(svg, HasSubstr("a &lt; b &amp; c"));
  for (const char* tag : {"svg", "text", "title", "defs", "pattern"})
    EXPECT_EQ(count(svg, std::string("<") + tag + " ") + count(svg, std::string("<") + tag + ">"),
              count(svg, std::string("</") + tag + ">"))
        << tag;
}

TEST(TimelineSvgTest, AnEmptyTimelineIsAPictureToo) {
  EXPECT_THAT(timeline_svg({.title = "nothing", .stages = 1}), HasSubstr("bubble 100.0 %"));
}

TEST(TimelineTraceTest, IsJsonWithOneEventABarInMicroseconds) {
  const Json trace = parse_json(timeline_trace(small_picture()), "trace");
  EXPECT_EQ(trace["otherData"]["title"], "a < b & c");
  std::vector<Json> bars;
  for (const Json& event : trace["traceEvents"])
    if (event["ph"] == "X") bars.push_back(event);
  ASSERT_EQ(bars.size(), 4U);
  EXPECT_EQ(bars[1]["pid"], 1);  // links
  EXPECT_EQ(bars[1]["args"]["to_stage"], 1);
  EXPECT_EQ(bars[3]["tid"], 1);
  EXPECT_EQ(bars[3]["ts"], 3e6);
  EXPECT_EQ(bars[3]["dur"], 1e6);
}

}  // namespace
}  // namespace lamp
