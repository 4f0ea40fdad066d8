// Training and measuring on slabs of every volume.
#include <ATen/Parallel.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/types.h>

#include <csignal>
#include <filesystem>
#include <string>
#include <utility>

#include "lamp/base/errors.h"
#include "lamp/base/files.h"
#include "lamp/base/log.h"
#include "lamp/dataset/datalist.h"
#include "lamp/execution/plan_choices.h"
#include "lamp/execution/plan_json.h"
#include "lamp/nets/net_factory.h"
#include "lamp/training/bench_wish.h"
#include "lamp/training/curriculum_plan.h"
#include "support/signals.h"
#include "training/ball_training.h"

namespace lamp {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

class SlabTrainingTest : public testing::BallTraining {
 protected:
  SlabTrainingTest() : BallTraining(2) {}
  Json config(const std::string& devices, const std::string& split) {
    Json json = testing::ball_config();
    json["execution"] = {{"device", devices},
                         {"split", split},
                         {"partition", "layers"},
                         {"layout", "contiguous"},
                         {"costs", "shapes"}};  // measuring hears the signals that stop a run
    return json;
  }
  Json plan_of(const std::string& name) {
    return parse_json(read_file(folder_ / (name + "/plan.json")), "plan.json");
  }
  std::string refusal_of(const Json& json) {
    try {
      run("refused", json);
    } catch (const UsageError& error) {
      return error.what();
    }
    return "";
  }
};

TEST_F(SlabTrainingTest, AResumeHasTheBitsOfARunNeverStopped) {
  for (const auto& [devices, split] : {std::pair{"cpu,cpu", "slabs=2"},
                                       {"cpu,cpu,cpu,cpu", "stages=2,slabs=2"},
                                       {"cpu,cpu", "replicas=2"}}) {
    const std::string whole = std::string(split) + " whole",
                      pieces = std::string(split) + " pieces";
    Json json = config(devices, split);
    json["curriculum"][1]["batch"] = 2;  // a sample for each replica
    run(whole, json);
    testing::send_signal(SIGINT);
    EXPECT_THROW(run(pieces, json), Interrupted);
    testing::forget_signals();
    run(pieces, json, true);
    EXPECT_EQ(weights(pieces), weights(whole)) << split;
    EXPECT_EQ(plan_of(pieces), plan_of(whole)) << split;
  }
}

TEST_F(SlabTrainingTest, ThePlanSaysItAndIsCarriedToAnotherRun) {
  const Json json = config("cpu,cpu", "slabs=2");
  run("run", json);
  const Json plan = plan_of("run");
  ASSERT_EQ(plan.size(), 2U);
  for (const Json& stage : plan) {
    EXPECT_EQ(stage["split"], "replicas=1,stages=1,slabs=2");
    ASSERT_EQ(stage["stages"].size(), 2U);
    EXPECT_EQ(stage["stages"][1]["slab"], 1);
    EXPECT_EQ(stage["partition"].size(), 1U);
  }
  Json open = json;
  open.erase("execution");
  train({.dataset = folder_ / "data",
         .config = open,
         .run = folder_ / "again",
         .plan = folder_ / "run/plan.json"});
  EXPECT_EQ(plan_of("again"), plan);
  EXPECT_EQ(weights("again"), weights("run"));
}

// Patches of 12 have 3 planes at the coarsest level, whole volumes of 20 to 22 voxels, padded to
// 24, have 6. Of shares 5 to 1 the second slab begins at plane 20 of 24, which is plane 5 of 6, and
// at plane 10 of 12, which is 3 of 3 when rounded; of 12 to 1 at plane 22 of 24, which is 6 of 6.
TEST_F(SlabTrainingTest, SharesThatLeaveACaseNoPlaneAreRefusedByName) {
  Dataset dataset = read_dataset(folder_ / "data");
  TrainConfig config = parse_train_config(this->config("cpu,cpu", "slabs=2"));
  config.net = parse_net_config(
      {{"name", "unet"}, {"width", 2}, {"depth", 1}, {"in_channels", 1}, {"classes", 2}});
  const CaseSplit split = split_dataset(dataset, config.validation, config.seed);
  const auto refusal = [&](const std::vector<double>& first, const std::vector<double>& second) {
    const ResolvedExecution plan{.net = config.net, .slabs = 2};
    std::vector<ResolvedExecution> stages = {plan, plan};
    stages[0].slab_shares = first;
    stages[1].slab_shares = second;
    try {
      check_slab_shares(stages, config, dataset, split);
    } catch (const UsageError& error) {
      return std::string(error.what());
    }
    return std::string();
  };
  ASSERT_EQ(config.curriculum.size(), 2U);
  ASSERT_FALSE(config.curriculum[1].patch);
  EXPECT_EQ(refusal({}, {}), "");
  EXPECT_EQ(refusal({}, {5, 1}), "");
  EXPECT_EQ(refusal({2, 1}, {5, 1}), "");
  EXPECT_THAT(refusal({}, {12, 1}),
              AllOf(HasSubstr("curriculum stage 2"), HasSubstr("ball_"), HasSubstr("slab_shares")));
  EXPECT_THAT(refusal({5, 1}, {}), AllOf(HasSubstr("curriculum stage 1"), HasSubstr("12x12x12")));
}

// The batches of the two stages are 2 and 1.
TEST_F(SlabTrainingTest, AReplicaIdlesInAStageThatHasNoSampleForIt) {
  Json json = config("cpu,cpu", "replicas=2");
  json["curriculum"][0]["batch"] = 2;
  json["curriculum"][1]["batch"] = 1;
  run("whole", json);
  const Json plan = plan_of("whole");
  EXPECT_EQ(plan[1]["split"], "replicas=2,stages=1,slabs=1");
  EXPECT_THAT(plan[0]["reasons"].dump(), Not(HasSubstr("idles")));
  EXPECT_THAT(plan[1]["reasons"].dump(), HasSubstr("1 of 2 replicas: the last one idles"));
  testing::send_signal(SIGINT);
  EXPECT_THROW(run("pieces", json), Interrupted);
  testing::forget_signals();
  run("pieces", json, true);
  EXPECT_EQ(weights("pieces"), weights("whole"));
}

// Two replicas with a micro-batch each are a step of two micro-batches, on one device too.
TEST_F(SlabTrainingTest, AResumeKeepsTheMicroBatchesOfAllReplicas) {
  Json begun = config("cpu,cpu", "replicas=2");
  Json ahead = config("cpu", "auto");
  for (Json* json : {&begun, &ahead})
    for (Json& stage : (*json)["curriculum"]) stage["batch"] = 2;
  testing::send_signal(SIGINT);
  EXPECT_THROW(run("run", begun), Interrupted);
  testing::forget_signals();
  EXPECT_EQ(plan_of("run")[0]["microbatches"], 1);
  run("run", ahead, true);
  for (const Json& plan : plan_of("run")) {
    EXPECT_EQ(plan["split"], "replicas=1,stages=1,slabs=1");
    EXPECT_EQ(plan["microbatches"], 2);
  }
}

TEST_F(SlabTrainingTest, AResumeOnOneDevicePlansAnew) {
  Json begun = config("cpu,cpu", "slabs=2");
  begun["curriculum"].erase(1);
  run("run", begun);
  run("run", config("cpu", "auto"), true);
  EXPECT_EQ(plan_of("run")[1]["split"], "replicas=1,stages=1,slabs=1");
}

// Whole volumes of 20 to 22 voxels a side are padded to 24: 6 planes at the coarsest level. Patches
// of 12 have 3 there.
TEST_F(SlabTrainingTest, RefusesWhatCannotBeCutBeforeTheRunBegins) {
  EXPECT_THAT(refusal_of(config("cpu,cpu,cpu,cpu", "slabs=4")),
              AllOf(HasSubstr("curriculum stage 1"), HasSubstr("ball_"),
                    HasSubstr("execution.split"), HasSubstr("3 slabs or fewer")));
  EXPECT_THAT(refusal_of(config("cpu,cpu,cpu", "slabs=2")), HasSubstr("a product of 2"));
  EXPECT_THAT(refusal_of(config("cpu,cpu,cpu,cpu,cpu", "replicas=5")),
              AllOf(HasSubstr("found replicas=5 for a batch of "), HasSubstr(" or fewer")));
  EXPECT_FALSE(std::filesystem::exists(folder_ / "refused"));
}

BenchOptions slab_bench(const std::string& devices, const std::string& split,
                        const std::string& input, std::int64_t batch = 1) {
  BenchWish wish{.net = {{"width", 4}, {"depth", 1}, {"classes", 3}},
                 .execution = {{"device", devices},
                               {"split", split},
                               {"layout", "contiguous"},
                               {"costs", "shapes"}},
                 .input = input,
                 .batch = batch,
                 .rounds = 1,
                 .seed = 3};
  return parse_bench_wish(wish);
}

TEST(SlabBenchTest, AStepOnSlabsIsTheStepOnOneDevice) {
  at::set_num_threads(2);
  const Json one = bench_step(slab_bench("cpu", "auto", "16,16,21"));
  EXPECT_EQ(one["slabs"], 1);
  EXPECT_EQ(one["halo_bytes"], 0);
  const Json two = bench_step(slab_bench("cpu,cpu", "slabs=2", "16,16,21"));
  EXPECT_EQ(two["replicas"], 1);
  EXPECT_EQ(two["stages"], 1);
  EXPECT_EQ(two["slabs"], 2);
  EXPECT_EQ(two["partition"].size(), 2U);
  EXPECT_EQ(two["peak_bytes"].size(), 1U) << "they share one memory";
  for (const char* field : {"loss", "gradient_norm"})
    EXPECT_NEAR(two[field].get<double>() / one[field].get<double>(), 1, 1e-3) << field;
  const Json four = bench_step(slab_bench("cpu,cpu,cpu,cpu", "stages=2,slabs=2", "16,16,21"));
  EXPECT_EQ(four["stages"], 2);
  EXPECT_EQ(four["partition"].size(), 4U);
  EXPECT_NEAR(four["loss"].get<double>() / one["loss"].get<double>(), 1, 1e-3);
}

// Against one device with as many micro-batches in all.
TEST(SlabBenchTest, AStepOnReplicasIsTheStepOnOneDevice) {
  at::set_num_threads(2);
  BenchOptions plain = slab_bench("cpu", "auto", "16,16,21", 5);
  plain.execution.microbatches = 4;
  const Json one = bench_step(plain);
  EXPECT_EQ(one["replicas"], 1);
  for (const auto& [devices, split] : {std::pair{"cpu,cpu", "replicas=2"},
                                       {"cpu,cpu,cpu,cpu", "replicas=2,slabs=2"},
                                       {"cpu,cpu,cpu,cpu", "replicas=2,stages=2"}}) {
    BenchOptions options = slab_bench(devices, split, "16,16,21", 5);
    options.execution.microbatches = 2;
    const Json two = bench_step(options);
    EXPECT_EQ(two["replicas"], 2) << split;
    EXPECT_EQ(two["microbatches"], 2) << split;
    EXPECT_EQ(two["partition"].back()["replica"], 1) << split;
    for (const char* field : {"loss", "gradient_norm"})
      EXPECT_NEAR(two[field].get<double>() / one[field].get<double>(), 1, 1e-3) << split << field;
  }
}

// Sums over slabs are as large for any volume; halos grow with the planes as the plan counts them.
TEST(SlabBenchTest, HalosAreThoseThatThePlanCounts) {
  at::set_num_threads(2);
  const auto found = [](const char* input) {
    const BenchOptions options = slab_bench("cpu,cpu", "slabs=2", input);
    const Plan plan =
        choose_plan({.net = options.net, .input = options.input, .execution = options.execution})
            .plan;
    return std::pair(bench_step(options)["halo_bytes"].get<std::int64_t>(), halo_bytes(plan));
  };
  const auto small = found("16,16,32"), large = found("24,32,32");
  EXPECT_GT(small.second, 0);
  EXPECT_GE(small.first, small.second);
  EXPECT_EQ(large.first - small.first, large.second - small.second);
}

BenchOptions segment_bench(const std::string& devices, const std::string& split,
                           const std::string& patch = "whole") {
  BenchWish wish{.net = {{"width", 4}, {"depth", 1}, {"classes", 3}},
                 .execution = {{"device", devices}, {"split", split}, {"layout", "contiguous"}},
                 .input = "16,16,21",
                 .patch = patch,
                 .rounds = 1,
                 .seed = 3};
  return parse_segment_wish(wish);
}

TEST(SlabBenchTest, AVolumeIsSegmentedOnEveryGrid) {
  at::set_num_threads(2);
  struct Wanted {
    const char *devices, *split, *patch;
    int replicas, stages, slabs;
  };
  for (const Wanted& wanted : {Wanted{"cpu,cpu", "slabs=2", "whole", 1, 1, 2},
                               {"cpu,cpu,cpu,cpu", "stages=2,slabs=2", "whole", 1, 2, 2},
                               {"cpu,cpu", "replicas=2", "8,8,8", 2, 1, 1}}) {
    const Json result = bench_segment(segment_bench(wanted.devices, wanted.split, wanted.patch));
    EXPECT_EQ(result["replicas"], wanted.replicas);
    EXPECT_EQ(result["stages"], wanted.stages);
    EXPECT_EQ(result["slabs"], wanted.slabs);
    ASSERT_EQ(result["partition"].size(),
              static_cast<std::size_t>(wanted.replicas * wanted.stages * wanted.slabs));
    EXPECT_EQ(result["partition"].back()["replica"], wanted.replicas - 1);
    EXPECT_EQ(result["partition"].back()["slab"], wanted.slabs - 1);
    EXPECT_LE(result["unfolded"]["largest_difference"].get<double>(),
              1e-4 * result["unfolded"]["largest_logit"].get<double>())
        << wanted.split;
  }
}

// 21 voxels are padded to 24: 6 planes at the coarsest level.
TEST(SlabBenchTest, ASegmentationThatCannotBeCutIsRefused) {
  const std::string twelve = "cpu,cpu,cpu,cpu,cpu,cpu,cpu,cpu,cpu,cpu,cpu,cpu";
  const auto refusal = [](const BenchOptions& options) -> std::string {
    try {
      bench_segment(options);
    } catch (const UsageError& error) {
      return error.what();
    }
    return "";
  };
  EXPECT_THAT(refusal(segment_bench(twelve, "slabs=12")), HasSubstr("6 slabs or fewer"));
  EXPECT_THAT(refusal(segment_bench("cpu,cpu,cpu", "slabs=2")), HasSubstr("a product of 2"));
  EXPECT_THROW(segment_bench("cpu,cpu", "auto"), UsageError);
}

}  // namespace
}  // namespace lamp
