// What is decided before a step runs, and that every command decides the same.
#include "lamp/execution/plan_request.h"

#include <ATen/Parallel.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <string>

#include "lamp/base/errors.h"
#include "lamp/base/files.h"
#include "lamp/base/log.h"
#include "lamp/base/random.h"
#include "lamp/execution/plan_choices.h"
#include "lamp/execution/plan_costs.h"
#include "lamp/execution/plan_json.h"
#include "lamp/nets/net_factory.h"
#include "lamp/pipeline/stage_threads.h"
#include "lamp/planner/microbatch_choice.h"
#include "support/temporary_folder.h"

namespace lamp {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;
using testing::TemporaryFolder;

TEST(MostMicrobatchesTest, LeavesBatchNormMoreThanOneValue) {
  EXPECT_EQ(most_microbatches(8, {8, 8, 8}, 8), 4);
  EXPECT_EQ(most_microbatches(8, {5, 3, 8}, 8), 4);  // padded to one stride
  EXPECT_EQ(most_microbatches(8, {8, 8, 16}, 8), 8);
  EXPECT_EQ(most_microbatches(1, {8, 8, 8}, 8), 1);
}

TEST(StageThreadsTest, DependOnTheDevicesAlone) {
  const std::string cpu = "cpu", gpu = "cuda:0", other = "cuda:1";
  EXPECT_EQ(stage_threads({cpu}, 6), 6);
  EXPECT_EQ(stage_threads({cpu, cpu}, 6), 3);
  EXPECT_EQ(stage_threads({cpu, cpu, cpu, cpu}, 6), 1);
  EXPECT_EQ(stage_threads({cpu, gpu}, 6), 6);
  EXPECT_TRUE(is_crowded({cpu, cpu, cpu}, 2));
  EXPECT_EQ(stage_threads({cpu, cpu, cpu}, 2), 2);  // in turn
  EXPECT_TRUE(is_crowded({gpu, gpu}, 8));
  EXPECT_FALSE(is_crowded({gpu, other}, 1));
}

TEST(StageThreadsTest, StagesTakeTurnsWhereTwoNeverWorkOrNotAllCan) {
  const std::string cpu = "cpu", gpu = "cuda:0", other = "cuda:1";
  EXPECT_FALSE(take_turns({cpu, cpu}, 2, ScheduleKind::kGPipe, 4));
  EXPECT_TRUE(take_turns({cpu, cpu}, 1, ScheduleKind::kGPipe, 4)) << "fewer threads than stages";
  EXPECT_TRUE(take_turns({cpu, cpu}, 2, ScheduleKind::kGPipe, 1)) << "one micro-batch";
  EXPECT_TRUE(take_turns({cpu, cpu}, 2, ScheduleKind::kNaive, 4)) << "one at a time";
  EXPECT_FALSE(take_turns({gpu, other}, 2, ScheduleKind::kNaive, 4)) << "each has a thread";
  EXPECT_FALSE(take_turns({gpu, other}, 1, ScheduleKind::kGPipe, 4));
  EXPECT_TRUE(take_turns({gpu, gpu}, 8, ScheduleKind::kGPipe, 4)) << "one GPU";
}

PlanOptions wish_of(const std::string& devices, std::int64_t batch) {
  PlanOptions options{.input = {16, 16, 16}, .batch = batch};
  options.net = parse_net_config({{"width", 4}, {"depth", 2}, {"classes", 3}});
  options.execution = {.device = devices, .costs = "shapes"};
  return options;
}

TEST(PlanRequestTest, PlansForTheThreadsThatTheRunWillHave) {
  PlanOptions options = wish_of("cpu,cpu,cpu", 4);
  options.execution.schedule = "gpipe";
  options.execution.microbatches = 2;
  for (const int threads : {2, 4}) {
    at::set_num_threads(threads);
    const PipelineSetup setup = choose_plan(options).plan.setup;
    EXPECT_EQ(setup.takes_turns(), threads < 3) << threads;
    EXPECT_EQ(setup.sharing(), threads < 3 ? 1 : 3) << threads;
  }
}

TEST(SteadyMicrobatchesTest, OneDeviceSplitsNothingThatFits) {
  at::set_num_threads(4);
  EXPECT_EQ(choose_plan(wish_of("cpu", 16)).execution.microbatches, 1);
}

TEST(SteadyMicrobatchesTest, SeveralDevicesSplitAsFarAsItPays) {
  at::set_num_threads(4);
  const auto count = choose_plan(wish_of("cpu,cpu", 16)).execution.microbatches;
  EXPECT_GT(count, 1);
  EXPECT_LE(count, 8);  // two samples each
  PlanOptions whole = wish_of("cpu,cpu", 16);
  whole.loss_is_sum = false;
  EXPECT_EQ(choose_plan(whole).execution.microbatches, 1);
}

TEST(SteadyMicrobatchesTest, OneDeviceSplitsOnlyWhenAsked) {
  at::set_num_threads(4);
  PlanOptions options = wish_of("cpu", 8);
  const std::int64_t roomy = choose_plan(options).plan.balance.largest_peak_bytes;
  options.device_memory_bytes = roomy * 3 / 4;
  const NetworkPlan refused = choose_plan(options);
  EXPECT_FALSE(refused.plan.fits);
  EXPECT_EQ(refused.execution.microbatches, 1);
  EXPECT_THAT(refused.plan.reasons, Contains(HasSubstr("execution.microbatches=")));
  options.execution.microbatches = 4;
  EXPECT_TRUE(choose_plan(options).plan.fits);
}

TEST(GivenRulesTest, OneForEachStageOfAGivenCut) {
  at::set_num_threads(4);
  PlanOptions options = wish_of("cpu,cpu", 4);
  const auto links = static_cast<std::int64_t>(make_network(options.net).chain->size());
  options.execution.recompute = "stages";
  options.execution.recompute_stages = {RecomputeRule::kAlways, RecomputeRule::kNever};
  EXPECT_THROW(choose_plan(options), UsageError);
  options.execution.partition = "counts";
  options.execution.partition_counts = {links / 2, links - links / 2};
  const NetworkPlan chosen = choose_plan(options);
  EXPECT_EQ(chosen.execution.recompute, options.execution.recompute_stages);
  EXPECT_TRUE(chosen.plan.fits);
}

// Decided twice, once carried through a file: the same.
TEST(ResolvedExecutionTest, ReadsWhatItWrote) {
  at::set_num_threads(4);
  const TemporaryFolder folder;
  for (const char* devices : {"cpu", "cpu,cpu", "cpu,cpu,cpu"}) {
    const NetworkPlan chosen = choose_plan(wish_of(devices, 8));
    write_file(folder / "plan.json", dump_json(to_json(chosen)));
    const auto plans = read_plans(folder / "plan.json");
    ASSERT_EQ(plans.size(), 1U);
    const ResolvedExecution read = parse_resolved_execution(plans[0], folder / "plan.json");
    EXPECT_EQ(to_json(read), to_json(chosen.execution));
    EXPECT_EQ(differing_field(read, wish_of(devices, 8).work()), "");
  }
}

TEST(ResolvedExecutionTest, NamesTheFieldThatDiffers) {
  at::set_num_threads(4);
  const ResolvedExecution plan = choose_plan(wish_of("cpu,cpu", 8)).execution;
  const auto field = [&](const std::function<void(PlanOptions&)>& change) {
    PlanOptions other = wish_of("cpu,cpu", 8);
    change(other);
    return differing_field(plan, other.work());
  };
  EXPECT_EQ(field([](PlanOptions& o) { o.net.width = 8; }), "net.width: 4 in the plan, 8 here");
  EXPECT_THAT(field([](PlanOptions& o) {
                o.input = {16, 16, 24};
              }),
              HasSubstr("input: [16,16,16] in the plan, [16,16,24] here"));
  EXPECT_EQ(field([](PlanOptions& o) { o.batch = 4; }), "batch: 8 in the plan, 4 here");
  EXPECT_EQ(field([](PlanOptions& o) { o.execution.device = "cpu"; }),
            "device: cpu,cpu in the plan, cpu here");
  EXPECT_EQ(field([](PlanOptions& o) { o.execution.precision = "bf16"; }),
            "precision: fp32 in the plan, bf16 here");
  EXPECT_THAT(field([](PlanOptions& o) { o.execution.microbatches = 1; }),
              HasSubstr("microbatches: "));
  EXPECT_THAT(field([](PlanOptions& o) { o.execution.recompute = "always"; }),
              HasSubstr("recompute: "));
  EXPECT_THAT(field([](PlanOptions& o) {
                o.execution.partition = "counts";
                o.execution.partition_counts = {1, 1};
              }),
              HasSubstr("partition: "));
  EXPECT_EQ(field([](PlanOptions& o) { o.execution.device = "auto"; }), "");
}

TEST(ResolvedExecutionTest, RefusesADamagedPlanByFileAndField) {
  at::set_num_threads(4);
  const Json good = to_json(choose_plan(wish_of("cpu,cpu", 8)).execution);
  const auto message = [&](const char* key, const Json& value) -> std::string {
    Json wrong = good;
    if (value.is_null())
      wrong.erase(key);
    else
      wrong[key] = value;
    try {
      parse_resolved_execution(wrong, "p.json");
    } catch (const UsageError& error) {
      return error.what();
    }
    return "accepted";
  };
  for (const auto& [key, value] : std::map<const char*, Json>{{"threads", 0},
                                                              {"batch", "8"},
                                                              {"microbatches", 9},
                                                              {"partition", {1, 2}},
                                                              {"input", {16, 16}},
                                                              {"schedule", "soon"},
                                                              {"precision", "fp8"},
                                                              {"layout", 3},
                                                              {"recompute", {"never"}},
                                                              {"net", nullptr},
                                                              {"device", nullptr}}) {
    EXPECT_THAT(message(key, value), HasSubstr("p.json")) << key;
    EXPECT_EQ(message(key, value).rfind("no usable plan"), 0U) << "said once: " << key;
    EXPECT_EQ(message(key, value).find('\n'), std::string::npos) << key;
  }
}

}  // namespace
}  // namespace lamp
