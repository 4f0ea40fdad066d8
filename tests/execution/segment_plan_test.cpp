#include "lamp/execution/segment_plan.h"

#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include "lamp/base/errors.h"
#include "lamp/base/files.h"
#include "lamp/execution/plan_json.h"
#include "support/temporary_folder.h"

namespace lamp {
namespace {

class ObeyPlanTest : public ::testing::Test {
 protected:
  ObeyPlanTest() {
    PlanOptions wish{.net = net_, .input = {16, 16, 16}};
    wish.execution = {.device = "cpu,cpu", .layout = "contiguous", .costs = "shapes"};
    Json plan = to_json(choose_plan(wish));
    plan["threads"] = threads_ + 1;
    write_file(file_, dump_json(plan));
  }
  ~ObeyPlanTest() override { at::set_num_threads(threads_); }

  SegmentExecution obey(const SegmentExecution& given) {
    return obey_plan(file_, {net_, net_}, given);
  }

  const NetConfig net_{.name = "unet", .width = 4, .depth = 2, .classes = 3};
  const testing::TemporaryFolder folder_;
  const std::string file_ = (folder_ / "plan.json").string();
  const int threads_ = at::get_num_threads();
};

TEST_F(ObeyPlanTest, ThePlanSaysWhatTheUserDoesNot) {
  for (const std::string nothing : {"", "auto"}) {
    const SegmentExecution obeyed = obey({nothing, nothing, nothing});
    EXPECT_EQ(obeyed.device, "cpu,cpu");
    EXPECT_EQ(obeyed.precision, "fp32");
    EXPECT_EQ(obeyed.layout, "contiguous");
  }
  EXPECT_EQ(obey({.device = "cpu,cpu", .precision = "fp32"}).layout, "contiguous");
  EXPECT_EQ(at::get_num_threads(), threads_ + 1);
}

TEST_F(ObeyPlanTest, WhatTheUserSaysOtherwiseIsRefused) {
  EXPECT_THROW(obey({.device = "cpu"}), UsageError);
  EXPECT_THROW(obey({.precision = "bf16"}), UsageError);
  EXPECT_THROW(obey({.layout = "channels_last"}), UsageError);
  EXPECT_EQ(at::get_num_threads(), threads_) << "a refused plan changes nothing";
}

TEST_F(ObeyPlanTest, TheSplitIsThePlansToo) {
  EXPECT_EQ(obey({}).split, "replicas=1,stages=2,slabs=1");
  PlanOptions wish{.net = net_, .input = {16, 16, 16}};
  wish.execution = {.device = "cpu,cpu",
                    .split = DeviceGrid{.slabs = 2},
                    .layout = "contiguous",
                    .costs = "shapes"};
  write_file(file_, dump_json(to_json(choose_plan(wish))));
  EXPECT_EQ(obey({}).split, "replicas=1,stages=1,slabs=2");
  EXPECT_EQ(obey({.split = "auto"}).split, "replicas=1,stages=1,slabs=2");
  EXPECT_EQ(obey({.split = "slabs=2"}).split, "replicas=1,stages=1,slabs=2");
  EXPECT_THROW(obey({.split = "stages=2"}), UsageError);
}

TEST(SegmentSplitTest, WordsThatSayNoSplitAreRefused) {
  EXPECT_FALSE(parse_segment_split(""));
  EXPECT_EQ(parse_segment_split("slabs=3,replicas=2"), (DeviceGrid{.replicas = 2, .slabs = 3}));
  for (const char* wrong :
       {"auto", "slabs", "slabs=0", "slabs=2,", "slabs=1.5", "slabs=2,slabs=2", "planes=2", "2"})
    EXPECT_THROW(parse_segment_split(wrong), UsageError) << wrong;
}

TEST_F(ObeyPlanTest, EveryNetworkMustBeThePlans) {
  NetConfig other = net_;
  other.width = 8;
  EXPECT_THROW(obey_plan(file_, {net_, other}, {}), UsageError);
}

}  // namespace
}  // namespace lamp
