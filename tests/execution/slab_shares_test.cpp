// Slabs for devices of unequal speed: whose planes, seconds and bytes they are, and what plan.json
// says of them.
#include "lamp/execution/slab_shares.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>
#include <string>
#include <vector>

#include "lamp/base/errors.h"
#include "lamp/execution/plan_choices.h"
#include "lamp/execution/plan_costs.h"
#include "lamp/execution/plan_json.h"
#include "lamp/execution/slab_costs.h"

namespace lamp {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::DoubleNear;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

TEST(SlabSharesTest, SpeedsAreThoseOfTheFirstDeviceOverTheirSeconds) {
  EXPECT_THAT(speeds_of_seconds({2, 1, 4}), ElementsAre(1, 2, 0.5));
  EXPECT_THAT(speeds_of_seconds({1, 1.05}), IsEmpty()) << "as two measurements of one device";
  EXPECT_EQ(speeds_of_seconds({2.05, 1, 3.95}), speeds_of_seconds({2, 1.03, 4.1})) << "rounded";
  EXPECT_THAT(speeds_of_seconds({1}), IsEmpty());
  EXPECT_THAT(speeds_of_seconds({}), IsEmpty());
}

// Of 4 planes a share of 1/3 might leave none once boundaries are rounded: it gets 1.5 planes, a
// quarter of the way to an even share. Of 3 planes two slabs are even.
TEST(SlabSharesTest, AreInProportionToSpeedsAsFarAsTheCoarsestLevelBearsIt) {
  EXPECT_THAT(shares_of_speeds({2, 1}, 64),
              ElementsAre(DoubleNear(2.0 / 3, 1e-12), DoubleNear(1.0 / 3, 1e-12)));
  EXPECT_THAT(shares_of_speeds({2, 1}, 4),
              ElementsAre(DoubleNear(0.625, 1e-12), DoubleNear(0.375, 1e-12)));
  EXPECT_THAT(shares_of_speeds({2, 1}, 3), IsEmpty());
  EXPECT_THAT(shares_of_speeds({1, 1}, 64), IsEmpty());
}

// Two devices that are not here, of a stride of 4: 64 planes are 16 at the coarsest level.
PlanOptions unequal_wish(const std::vector<double>& flops, const std::string& split = "slabs=2") {
  PlanOptions options{.input = {16, 16, 64}, .batch = 1};
  options.net = parse_net_config({{"width", 4}, {"depth", 1}, {"classes", 3}});
  options.execution = parse_execution_config({{"split", split}, {"layout", "contiguous"}});
  options.absent_devices = std::ssize(flops);
  options.device_memory_bytes = std::int64_t{1} << 30;
  options.unequal_flops_per_s = flops;
  return options;
}

TEST(SlabSharesTest, ASlabIsAsFastAsTheSlowestOfItsDevices) {
  EXPECT_THAT(slab_speeds(unequal_wish({2e12, 1e12})), ElementsAre(1, 0.5));
  EXPECT_THAT(slab_speeds(unequal_wish({2e12, 2e12, 1e12, 2e12}, "stages=2,slabs=2")),
              ElementsAre(0.5, 1));
  EXPECT_THAT(slab_speeds(unequal_wish({1e12, 1e12})), IsEmpty());
}

TEST(SlabSharesTest, HeedTheSmallestVolumeThatComesLater) {
  PlanOptions options = unequal_wish({2e12, 1e12});
  const auto shapes = shapes_of(options);
  EXPECT_THAT(slab_shares(options, *shapes).front(), DoubleNear(2.0 / 3, 1e-12));
  options.most_slabs = 4;
  EXPECT_THAT(slab_shares(options, *shapes).front(), DoubleNear(0.625, 1e-12));
}

// Two thirds of 64 planes are 43, and 22 of 32 behind the first convolution, which halves; the slow
// device's 10 take as long as 20.
TEST(SlabSharesTest, TheSlabThatTakesLongestSetsThePace) {
  const PlanOptions options = unequal_wish({2e12, 1e12});
  PlanOptions one = unequal_wish({}, "auto");
  one.absent_devices = 1;
  one.flops_per_s = 2e12;
  const auto shapes = shapes_of(one);
  const NetworkCosts shared = shape_costs_of(options, shapes)({.samples = 1});
  const NetworkCosts all = shape_costs_of(one, shapes)({.samples = 1});
  EXPECT_NEAR(shared.layers[0].forward_s - shared.layers[0].forward_exchange_s,
              all.layers[0].forward_s * 22 / 32, 1e-15);
  EXPECT_NEAR(shared.loss_s - shared.loss_exchange_s, all.loss_s * 43 / 64, 1e-15);
  EXPECT_EQ(shared.input_bytes, all.input_bytes * 43 / 64);
}

TEST(SlabSharesTest, WithoutSlabsTheSlowestDeviceSetsThePace) {
  PlanOptions options = unequal_wish({2e12, 1e12}, "stages=2"), one = options;
  one.unequal_flops_per_s.clear();
  one.flops_per_s = 1e12;
  const auto shapes = shapes_of(one);
  EXPECT_NEAR(shape_costs_of(options, shapes)({.samples = 1}).layers[0].forward_s,
              shape_costs_of(one, shapes)({.samples = 1}).layers[0].forward_s, 1e-15);
}

// Of 10 bytes 2 are there whatever the planes: half of the planes hold 2 + 8 / 2.
TEST(SlabSharesTest, ASmallerSlabFitsASmallerDevice) {
  const PipelineSetup setup{.slab_parts = {1, 0.5}, .slab_fixed_bytes = 2};
  EXPECT_EQ(setup.bytes_of_slab(10, 0), 10);
  EXPECT_EQ(setup.bytes_of_slab(10, 1), 6);
  PlanRequest request{.devices = {{"a", 10}, {"b", 7}}, .slab_parts = {1, 0.5}};
  request.slab_fixed_bytes = 2;
  PlanRequest tight = request;
  tight.devices[1].memory_bytes = 5;
  take_slabs(request, {.slabs = 2});
  EXPECT_EQ(request.devices.front().memory_bytes, 10) << "the second would do for 12";
  EXPECT_EQ(request.workers[1].memory_bytes, 7);
  take_slabs(tight, {.slabs = 2});
  EXPECT_EQ(tight.devices.front().memory_bytes, 8) << "2 + 6 / 2 are 5";
}

TEST(SlabSharesTest, AreInThePlanWhereDevicesDifferAndReadBack) {
  const NetworkPlan chosen = choose_plan(unequal_wish({2e12, 1e12}));
  const Json json = to_json(chosen);
  ASSERT_EQ(json["slab_shares"].size(), 2U);
  EXPECT_NEAR(json["slab_shares"][0].get<double>(), 2.0 / 3, 1e-12);
  EXPECT_NEAR(json["slab_shares"][1].get<double>(), 1.0 / 3, 1e-12);
  EXPECT_GT(json["stages"][0]["peak_bytes"], json["stages"][1]["peak_bytes"]);
  EXPECT_GT(json["devices"][0]["peak_bytes"], json["devices"][1]["peak_bytes"]);
  EXPECT_THAT(chosen.plan.reasons, Contains(HasSubstr("66.7 % and 33.3 % of the planes")));
  const ResolvedExecution read = parse_resolved_execution(json, "plan.json");
  EXPECT_EQ(read.slab_shares, chosen.execution.slab_shares);
  EXPECT_EQ(to_json(read), to_json(chosen.execution));
  EXPECT_FALSE(to_json(choose_plan(unequal_wish({1e12, 1e12}))).contains("slab_shares"));
}

TEST(SlabSharesTest, UnequalSlabsAreFasterThanTheSlowestDeviceAllows) {
  const double unequal = choose_plan(unequal_wish({2e10, 1e10})).plan.simulation.makespan;
  const double slow = choose_plan(unequal_wish({1e10, 1e10})).plan.simulation.makespan;
  const double fast = choose_plan(unequal_wish({2e10, 2e10})).plan.simulation.makespan;
  EXPECT_LT(unequal, slow);
  EXPECT_GT(unequal, fast);
}

TEST(SlabSharesTest, WrongOnesInAPlanAreRefusedByName) {
  Json json = to_json(choose_plan(unequal_wish({2e12, 1e12})));
  for (const Json& wrong :
       {Json::array({1, 2, 3}), Json::array({1}), Json::array({}), Json::array({1, 0}),
        Json::array({1, -1}), Json::array({1, "2"}), Json::array({1, nullptr}),
        Json::array({1, true}), Json::array({1, std::numeric_limits<double>::infinity()}),
        Json::array({1, std::numeric_limits<double>::quiet_NaN()}), Json("2,1"), Json(2),
        Json(nullptr), Json::array({1000, 1})}) {
    json["slab_shares"] = wrong;
    try {
      parse_resolved_execution(json, "plan.json");
      ADD_FAILURE() << wrong;
    } catch (const UsageError& error) {
      EXPECT_THAT(error.what(), AllOf(HasSubstr("plan.json"), HasSubstr("slab_shares")));
      EXPECT_THAT(std::string(error.what()).find('\n'), std::string::npos);
    }
  }
  json["slab_shares"] = Json::array({3, 1});
  EXPECT_THAT(parse_resolved_execution(json, "plan.json").slab_shares, ElementsAre(3, 1));
}

TEST(SlabSharesTest, RatesAreOneForAllOrOneForEachDevice) {
  PlanOptions options = unequal_wish({2e12, 1e12});
  options.unequal_flops_per_s.push_back(1e12);
  try {
    choose_plan(options);
    FAIL();
  } catch (const UsageError& error) {
    EXPECT_THAT(error.what(), HasSubstr("flops: found 3 rates for 2 devices"));
  }
}

}  // namespace
}  // namespace lamp
