#include "lamp/nets/layout_choice.h"

#include <gtest/gtest.h>

#include <vector>

#include "lamp/base/errors.h"
#include "support/operator_counter.h"

namespace lamp {
namespace {

// Seconds of either layout, round by round; the last ones repeat.
LayoutTimer made_up(std::vector<double> last, std::vector<double> first) {
  return [last, first, i = std::size_t{0}, k = std::size_t{0}](Layout layout) mutable {
    const auto& seconds = layout == Layout::kChannelsLast ? last : first;
    std::size_t& next = layout == Layout::kChannelsLast ? i : k;
    return seconds[std::min(next++, seconds.size() - 1)];
  };
}

TEST(LayoutChoiceTest, TheClearlyFasterOneIsTaken) {
  EXPECT_EQ(faster_layout(Layout::kChannelsLast, made_up({3}, {2})), Layout::kContiguous);
  EXPECT_EQ(faster_layout(Layout::kContiguous, made_up({2}, {3})), Layout::kChannelsLast);
  EXPECT_EQ(faster_layout(Layout::kChannelsLast, made_up({2}, {3})), Layout::kChannelsLast);
}

TEST(LayoutChoiceTest, NearTiesKeepTheUsualOne) {
  EXPECT_EQ(faster_layout(Layout::kChannelsLast, made_up({1.1}, {1})), Layout::kChannelsLast);
  EXPECT_EQ(faster_layout(Layout::kContiguous, made_up({1}, {1.1})), Layout::kContiguous);
}

TEST(LayoutChoiceTest, OneDisturbedRoundDoesNotDecide) {
  // Something else ran during the usual one's rounds but one.
  EXPECT_EQ(faster_layout(Layout::kChannelsLast, made_up({9, 9, 9, 1, 9}, {1.05})),
            Layout::kChannelsLast);
}

TEST(LayoutChoiceTest, TheFirstRoundOnlyWarmsUp) {
  EXPECT_EQ(faster_layout(Layout::kChannelsLast, made_up({3}, {9, 2})), Layout::kContiguous);
}

TEST(LayoutChoiceTest, NamesAreChecked) {
  const LayoutQuestion question{.device = c10::kCPU};
  EXPECT_EQ(choose_layout("contiguous", question), Layout::kContiguous);
  EXPECT_EQ(choose_layout("channels_last", question), Layout::kChannelsLast);
  EXPECT_THROW(choose_layout("nhwc", question), UsageError);
}

TEST(LayoutChoiceTest, AMeasuredAnswerIsRemembered) {
  for (const bool training : {false, true}) {
    // A width of which nobody else in this process asks.
    const LayoutQuestion question{.device = c10::kCPU, .width = 57, .training = training};
    const testing::OperatorCounter counter;
    const Layout first = choose_layout("auto", question);
    const std::int64_t measured = counter.all_calls();
    EXPECT_GT(measured, 0);
    EXPECT_EQ(choose_layout("auto", question), first);
    EXPECT_EQ(counter.all_calls(), measured) << "nothing runs for a known answer";
  }
}

}  // namespace
}  // namespace lamp
