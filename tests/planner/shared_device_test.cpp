#include "lamp/planner/shared_device.h"

#include <gtest/gtest.h>

namespace lamp {
namespace {

const std::vector<double> kOneMicroBatch = {1};

TimelineEntry work(int stage, WorkKind kind, double start, double end) {
  return {.stage = stage, .kind = kind, .microbatch = 0, .start = start, .end = end};
}

// Two stages in turn; the second one's gradient of 70 bytes waits for the first one's backward.
TEST(SharedDeviceTest, AGradientCountsUntilItIsTaken) {
  SharedDevice device(2, kOneMicroBatch);
  device.add(0,
             {.before = 10,
              .actions = {{30, 20, 10, &Courses::forward}, {25, 12, 0, &Courses::first_backward}}});
  device.add(1, {.before = 5,
                 .actions = {{15, 8, 5, &Courses::forward}, {16, 6, 0, &Courses::first_backward}},
                 .sent_back = {70}});
  // After the second backward: 20 and 6 of the stages and 70 on their way. They are taken before
  // the first backward holds its 25.
  EXPECT_EQ(device.peak({work(0, WorkKind::kForward, 0, 1), work(1, WorkKind::kForward, 1, 2),
                         work(1, WorkKind::kBackward, 2, 3), work(0, WorkKind::kBackward, 3, 4)}),
            20 + 6 + 70);
}

// The first stage needs most in its second second, when the other one is done.
TEST(SharedDeviceTest, StagesThatOverlapAreAddedUpLinkByLink) {
  const auto peak = [](bool with_courses) {
    SharedDevice device(2, kOneMicroBatch);
    SharingStage first{.actions = {{50, 5, 0, &Courses::forward}}};
    if (with_courses) first.courses.forward = {{1, 10}, {1, 50}};
    device.add(0, first);
    device.add(1, {.actions = {{40, 1, 0, &Courses::forward}}});
    return device.peak({work(0, WorkKind::kForward, 0, 2), work(1, WorkKind::kForward, 0, 1)});
  };
  EXPECT_EQ(peak(true), 50 + 1);
  EXPECT_EQ(peak(false), 50 + 40);
}

TEST(SharedDeviceTest, AllStagesUpdateAtOnce) {
  SharedDevice device(3, kOneMicroBatch);
  device.add(0, {.before = 10, .update = 40});
  device.add(2, {.before = 10, .update = 50});
  EXPECT_EQ(device.peak({work(1, WorkKind::kForward, 0, 1)}), 40 + 50) << "another device works";
}

}  // namespace
}  // namespace lamp
