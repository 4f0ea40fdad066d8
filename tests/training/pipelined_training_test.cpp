// Training over several stages is the training of one device, and what one number of stages saved
// another takes up.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/torch.h>

#include <csignal>

#include "lamp/base/errors.h"
#include "lamp/base/files.h"
#include "lamp/base/interrupt.h"
#include "lamp/base/log.h"
#include "lamp/nets/net_factory.h"
#include "lamp/training/execution.h"
#include "lamp/training/trainer.h"
#include "support/ball_dataset.h"
#include "support/temporary_folder.h"

namespace lamp {
namespace {

class PipelinedTrainingTest : public ::testing::Test {
 protected:
  PipelinedTrainingTest() {
    set_log_level(LogLevel::kWarning);
    set_caught_signal(0);
    at::set_num_threads(1);  // one on every stage, whatever their number
    testing::write_ball_dataset(folder_ / "data", 5);
  }
  ~PipelinedTrainingTest() override {
    set_caught_signal(0);
    close_log_file();
  }
  Json config(const std::string& devices, const std::string& schedule = "gpipe",
              const std::string& recompute = "never") {
    Json json = testing::ball_config();
    json["execution"] = {{"device", devices},
                         {"microbatches", 2},
                         {"schedule", schedule},
                         {"recompute", recompute},
                         {"partition", "layers"}};
    return json;
  }
  void run(const std::string& name, const Json& json, bool resume = false) {
    train({.dataset = folder_ / "data", .config = json, .run = folder_ / name, .resume = resume});
  }
  std::string weights(const std::string& name) {
    return read_file(folder_ / (name + "/last.safetensors"));
  }
  testing::TemporaryFolder folder_;
};

TEST_F(PipelinedTrainingTest, TwoAndThreeStagesGiveTheWeightsOfOneToTheLastBit) {
  run("one", config("cpu"));
  run("two", config("cpu,cpu"));
  run("three", config("cpu,cpu,cpu", "1f1b", "always"));
  EXPECT_EQ(weights("two"), weights("one"));
  EXPECT_EQ(weights("three"), weights("one"));
}

TEST_F(PipelinedTrainingTest, WhatTwoStagesSavedResumesOnAnotherNumber) {
  run("whole", config("cpu"));
  set_caught_signal(SIGINT);
  EXPECT_THROW(run("pieces", config("cpu,cpu")), Interrupted);
  EXPECT_THROW(run("pieces", config("cpu,cpu,cpu"), true), Interrupted);
  set_caught_signal(0);
  run("pieces", config("cpu"), true);
  EXPECT_EQ(weights("pieces"), weights("whole"));
}

TEST_F(PipelinedTrainingTest, ThePlanNamesStagesAndLayers) {
  run("run", config("cpu,cpu"));
  const Json plan = parse_json(read_file(folder_ / "run/plan.json"), "plan.json");
  ASSERT_EQ(plan["stages"].size(), 2U);
  EXPECT_EQ(plan["stages"][0]["first"], 0);
  EXPECT_EQ(plan["stages"][1]["first"].get<int>(), plan["stages"][0]["last"].get<int>() + 1);
}

TEST_F(PipelinedTrainingTest, EveryStageOfTheCurriculumIsCutForItsOwnPatches) {
  Json json = config("cpu,cpu", "gpipe", "auto");
  json["execution"]["partition"] = "auto";
  json["curriculum"] = Json::array({json["curriculum"][0], json["curriculum"][0]});
  json["curriculum"][0]["patch"] = {8, 8, 8};
  json["curriculum"][1]["patch"] = {16, 16, 8};
  for (Json& stage : json["curriculum"]) stage["batch"] = 2;
  run("run", json);
  const Json plan = parse_json(read_file(folder_ / "run/plan.json"), "plan.json");
  EXPECT_EQ(plan["curriculum_stage"], 2);
  EXPECT_EQ(plan["microbatch"], Json({1, 1, 8, 16, 16}));
  EXPECT_EQ(plan["microbatches"], 2);
}

TEST_F(PipelinedTrainingTest, RefusesWhatCannotBeRight) {
  Json wrong = config("cpu,cpu");
  wrong["execution"]["partition"] = {1, 2};
  EXPECT_THROW(run("a", wrong), UsageError);
  wrong["execution"]["partition"] = {1, 2, 3};
  EXPECT_THROW(run("b", wrong), UsageError);
  wrong = config("cpu,cpu");
  wrong["execution"]["microbatches"] = 0;
  EXPECT_THROW(run("c", wrong), UsageError);
  std::string many = "cpu";
  for (int i = 0; i < 99; ++i) many += ",cpu";
  EXPECT_THROW(run("d", config(many)), UsageError);
}

TEST(ExecutionTest, MicroBatchesLeaveBatchNormMoreThanOneValue) {
  const Network network = make_network({.name = "unet", .width = 4, .depth = 2, .classes = 2});
  const std::int64_t stride = network.stride_multiple;
  const torch::Tensor smallest = torch::zeros({8, 1, stride, stride, stride});
  const torch::Tensor larger = torch::zeros({8, 1, stride, stride, 2 * stride});
  ExecutionConfig config{.microbatches = 8};
  const std::vector<c10::Device> two = {{c10::kCUDA, 0}, {c10::kCUDA, 1}};
  EXPECT_EQ(choose_microbatches(config, network, smallest, two, true), 4);
  EXPECT_EQ(choose_microbatches(config, network, larger, two, true), 8);
  EXPECT_EQ(choose_microbatches(config, network, larger, two, false), 1);
  EXPECT_EQ(choose_microbatches({}, network, larger, {c10::kCPU}, true), 1);
  EXPECT_EQ(choose_microbatches({}, network, larger, two, true), 4);
  EXPECT_EQ(choose_microbatches({}, network, larger, {c10::kCPU, c10::kCPU}, true), 1)
      << "stages of one device take turns at it";
}

}  // namespace
}  // namespace lamp
