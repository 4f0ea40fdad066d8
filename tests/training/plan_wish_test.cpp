#include "lamp/training/plan_wish.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "lamp/base/errors.h"

namespace lamp {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr std::int64_t kPlanGiB = std::int64_t{1} << 30;

PlanWish small_wish(const std::string& devices, const std::string& memory) {
  return {.net = {{"width", 4}, {"depth", 2}},
          .input = "32,32,32",
          .batch = 2,
          .devices = devices,
          .device_memory = memory};
}

std::string wish_refusal(const PlanWish& wish) {
  try {
    parse_plan_wish(wish).plans();
    return "accepted";
  } catch (const UsageError& error) {
    return error.what();
  }
}

TEST(PlanWishTest, OneMemoryIsThatOfEveryDevice) {
  const PlanOptions options = parse_plan_wish(small_wish("2", "16GiB")).options;
  EXPECT_EQ(options.absent_devices, 2);
  EXPECT_EQ(options.device_memory_bytes, 16 * kPlanGiB);
  EXPECT_TRUE(options.unequal_memory_bytes.empty());
  EXPECT_EQ(options.net.classes, 10);
  EXPECT_EQ(options.batch, 2);
}

TEST(PlanWishTest, EachDeviceHasTheMemoryThatIsSaidOfIt) {
  const PlanTask task = parse_plan_wish(small_wish("2", "16GiB,8GiB"));
  EXPECT_THAT(task.options.unequal_memory_bytes, ElementsAre(16 * kPlanGiB, 8 * kPlanGiB));
  const auto stages = task.plans();
  const auto devices = stages.front().chosen->plan.setup.distinct_devices();
  EXPECT_EQ(devices.front().memory_bytes, 16 * kPlanGiB);
  if (devices.size() == 2) {
    EXPECT_EQ(devices[1].memory_bytes, 8 * kPlanGiB);
  }
}

TEST(PlanWishTest, AListOfMemoriesHasAsManyAsDevices) {
  EXPECT_THAT(wish_refusal(small_wish("2", "16GiB,8GiB,4GiB")),
              HasSubstr("device_memory: found 3 sizes for 2 devices; give one for all"));
  EXPECT_THAT(wish_refusal(small_wish("1", "16GiB,8GiB")),
              HasSubstr("device_memory: found 2 sizes for 1 device; give"));
  EXPECT_THAT(wish_refusal(small_wish("2", "16GiB,")), HasSubstr("device_memory: found \"\""));
  EXPECT_THAT(wish_refusal(small_wish("2", "16GiB,8")), HasSubstr("8GiB"));
}

TEST(PlanWishTest, RatesAreOneForAllDevicesOrOneForEach) {
  PlanWish wish = small_wish("2", "16GiB");
  wish.flops = "100T,50T";
  EXPECT_THAT(parse_plan_wish(wish).options.unequal_flops_per_s, ElementsAre(100e12, 50e12));
  wish.flops = "100T";
  EXPECT_EQ(parse_plan_wish(wish).options.flops_per_s, 100e12);
  wish.flops = "100T,50T,10T";
  EXPECT_THAT(wish_refusal(wish),
              HasSubstr("flops: found 3 rates for 2 devices; give one for all"));
  wish.flops = "100T,";
  EXPECT_NE(wish_refusal(wish), "accepted");
}

TEST(PlanWishTest, StagesOfOneDeviceShareItsMemory) {
  PlanWish wish = small_wish("", "8GiB,4GiB");
  wish.execution = {{"device", "cpu,cpu"}, {"costs", "shapes"}};
  EXPECT_THAT(wish_refusal(wish), HasSubstr("found 8.0 GiB and 4.0 GiB for cpu"));
  wish.device_memory = "8GiB,8GiB";
  EXPECT_EQ(wish_refusal(wish), "accepted");
}

TEST(PlanWishTest, ContradictionsNameTheSettings) {
  PlanWish wish = small_wish("2", "16GiB");
  wish.execution = {{"device", "cpu"}};
  EXPECT_THAT(wish_refusal(wish), HasSubstr("absent_devices=2 describes devices that are not"));
  wish = small_wish("two", "16GiB");
  EXPECT_THAT(wish_refusal(wish), HasSubstr("absent_devices: found \"two\""));
  wish = small_wish("2", "16GiB");
  wish.input = "auto";
  EXPECT_THAT(wish_refusal(wish), HasSubstr("max_input=X,Y,Z"));
  wish.input.clear();
  wish.dataset = "data";
  EXPECT_THAT(wish_refusal(wish), HasSubstr("config=CONFIG"));
  wish.dataset.clear();
  wish.rounds = 3;
  EXPECT_THAT(wish_refusal(wish), HasSubstr("rounds is for measure"));
}

}  // namespace
}  // namespace lamp
