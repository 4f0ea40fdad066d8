#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "lamp/base/json.h"
#include "lamp/report/timeline_picture.h"
#include "lamp/report/timeline_svg.h"
#include "lamp/report/timeline_trace.h"

namespace lamp {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

TimelinePicture small_picture() {
  return {.title = "a < b & c",
          .panels = {{.stages = 2,
                      .timeline = {{0, WorkKind::kForward, 0, 0, 1},
                                   {0, WorkKind::kTransfer, 0, 1, 2, 1},
                                   {1, WorkKind::kForward, 0, 2, 3},
                                   {1, WorkKind::kBackward, 0, 3, 4}}}}};
}

// What happened, twice as slow as thought.
TimelinePicture predicted_and_measured() {
  TimelinePicture picture = small_picture();
  TimelinePanel measured = picture.panels.front();
  picture.panels.front().name = "predicted";
  measured.name = "measured";
  for (TimelineEntry& entry : measured.timeline) {
    entry.start *= 2;
    entry.end *= 2;
  }
  picture.panels.push_back(measured);
  return picture;
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
  EXPECT_THAT(timeline_svg({.title = "nothing", .panels = {{.stages = 1}}}),
              HasSubstr("bubble 100.0 %"));
}

TEST(TimelineSvgTest, PredictedLiesAboveMeasuredOnOneAxis) {
  const std::string svg = timeline_svg(predicted_and_measured());
  const auto predicted = svg.find("predicted: 4 s, bubble 62.5 %");
  const auto measured = svg.find("measured: 8 s, bubble 62.5 %");
  ASSERT_NE(predicted, std::string::npos);
  ASSERT_NE(measured, std::string::npos);
  EXPECT_LT(predicted, measured);
  EXPECT_EQ(count(svg, "<title>"), 8);
  EXPECT_EQ(count(svg, ">time (s)<"), 1);
  EXPECT_EQ(count(svg, ">stage 1<"), 2);
  // A second and its double: an eighth and a quarter of the axis.
  EXPECT_EQ(count(svg, "width=\"124.40\""), 4);
  EXPECT_EQ(count(svg, "width=\"249.40\""), 4);
}

TEST(TimelineSvgTest, ASlabHasARowWithItsName) {
  const TimelinePicture picture{.title = "slabs",
                                .panels = {{.stages = 4,
                                            .timeline = {{2, WorkKind::kForward, 0, 0, 1},
                                                         {0, WorkKind::kTransfer, 0, 1, 2, 2}},
                                            .slabs = 2}}};
  const std::string svg = timeline_svg(picture);
  for (const char* name :
       {">stage 0, slab 0<", ">stage 0, slab 1<", ">stage 1, slab 0<", ">stage 1, slab 1<"})
    EXPECT_EQ(count(svg, name), 1) << name;
  EXPECT_THAT(svg, HasSubstr("transfer 0 to stage 1, slab 0: 1 to 2"));
  EXPECT_THAT(timeline_trace(picture), HasSubstr("\"sent by stage 1, slab 1\""));
}

TEST(TimelineTraceTest, EveryPanelHasItsOwnProcesses) {
  const Json trace = parse_json(timeline_trace(predicted_and_measured()), "trace");
  std::vector<std::string> names;
  std::vector<int> bars(4, 0);
  for (const Json& event : trace["traceEvents"]) {
    if (event["name"] == "process_name") names.push_back(event["args"]["name"]);
    if (event["ph"] == "X") ++bars[event["pid"].get<std::size_t>()];
  }
  EXPECT_EQ(names, (std::vector<std::string>{"predicted: stages", "predicted: links",
                                             "measured: stages", "measured: links"}));
  EXPECT_EQ(bars, (std::vector{3, 1, 3, 1}));
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
