// Training over several stages is the training of one device, and what one number of stages saved
// another takes up.
#include <ATen/Parallel.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/types.h>

#include <csignal>
#include <filesystem>
#include <string>

#include "lamp/base/errors.h"
#include "lamp/base/files.h"
#include "lamp/base/log.h"
#include "support/signals.h"
#include "training/ball_training.h"

namespace lamp {
namespace {

using ::testing::HasSubstr;

class PipelinedTrainingTest : public testing::BallTraining {
 protected:
  // One thread on every stage, whatever their number.
  PipelinedTrainingTest() : BallTraining(1) {}
  Json config(const std::string& devices, const std::string& schedule = "gpipe",
              const std::string& recompute = "never") {
    Json json = testing::ball_config();
    json["execution"] = {{"device", devices},
                         {"microbatches", 2},
                         {"schedule", schedule},
                         {"recompute", recompute},
                         {"partition", "layers"},
                         {"costs", "shapes"}};  // measuring hears the signals that stop a run
    return json;
  }
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
  Json begun = config("cpu,cpu");
  begun["curriculum"].erase(1);
  run("pieces", begun);
  run("pieces", config("cpu,cpu,cpu"), true);
  EXPECT_EQ(weights("pieces"), weights("whole"));
}

TEST_F(PipelinedTrainingTest, AResumeOnOtherDevicesSaysThatItPlansAnew) {
  run("grown", config("cpu,cpu"));
  Json more = config("cpu");
  more["curriculum"][1]["epochs"] = more["curriculum"][1]["epochs"].get<int>() + 1;
  ::testing::internal::CaptureStderr();
  run("grown", more, true);
  EXPECT_THAT(::testing::internal::GetCapturedStderr(),
              HasSubstr("stage 2 of 2 is planned anew (device: cpu,cpu in the plan, cpu here"));
}

TEST_F(PipelinedTrainingTest, ThePlanNamesStagesAndLayers) {
  run("run", config("cpu,cpu"));
  const Json plan = parse_json(read_file(folder_ / "run/plan.json"), "plan.json");
  ASSERT_EQ(plan.size(), 2U);  // stages of the curriculum
  const Json& stages = plan[0]["stages"];
  ASSERT_EQ(stages.size(), 2U);
  EXPECT_EQ(stages[0]["first"], 0);
  EXPECT_EQ(stages[1]["first"].get<int>(), stages[0]["last"].get<int>() + 1);
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
  ASSERT_EQ(plan.size(), 2U);
  EXPECT_EQ(plan[0]["input"], Json({8, 8, 8}));
  EXPECT_EQ(plan[1]["input"], Json({16, 16, 8}));
  EXPECT_EQ(plan[1]["curriculum_stage"], 2);
  EXPECT_EQ(plan[1]["microbatches"], 2);
}

Json read_plan_of(const std::filesystem::path& run) {
  return parse_json(read_file(run / "plan.json"), "plan.json");
}

// As a machine on which layers take other times would have cut it.
TEST_F(PipelinedTrainingTest, AResumeRunsWhatThePlanSaysWithTheBitsOfARunNeverStopped) {
  Json json = config("cpu,cpu");
  json["execution"] = {{"device", "cpu,cpu"}};  // all left open
  run("whole", json);
  Json plan = read_plan_of(folder_ / "whole");
  for (Json& stage : plan) {
    const int layers = stage["partition"][0].get<int>() + stage["partition"][1].get<int>();
    stage["partition"] = {2, layers - 2};
    stage["schedule"] = "naive";
    stage["recompute"] = {"always", "never"};
  }
  write_file(folder_ / "given.json", dump_json(plan));
  testing::send_signal(SIGINT);
  EXPECT_THROW(train({.dataset = folder_ / "data",
                      .config = json,
                      .run = folder_ / "pieces",
                      .plan = folder_ / "given.json"}),
               Interrupted);
  testing::forget_signals();
  run("pieces", json, true);
  const Json after = read_plan_of(folder_ / "pieces");
  for (const Json& stage : after) {
    EXPECT_EQ(stage["partition"][0], 2);
    EXPECT_EQ(stage["schedule"], "naive");
  }
  EXPECT_EQ(read_plan_of(folder_ / "whole")[0]["microbatches"], after[0]["microbatches"]);
  EXPECT_EQ(weights("pieces"), weights("whole"));
}

// Only a run that has no such file is planned anew.
TEST_F(PipelinedTrainingTest, ARunsFileWithoutAPlanIsAnErrorThatSaysTheWayOut) {
  Json json = config("cpu");
  run("run", json);
  json["curriculum"][1]["epochs"] = json["curriculum"][1]["epochs"].get<int>() + 1;
  const std::filesystem::path file = folder_ / "run/plan.json";
  for (const char* none :
       {"{}", "[]", "[{},{}]", "[1,2]", "null", R"({"microbatches": 1})",
        R"({"curriculum_stage": 1})", R"([{"microbatches": 0}, {"microbatches": 1}])"}) {
    write_file(file, none);
    try {
      run("run", json, true);
      ADD_FAILURE() << none;
    } catch (const InputError& error) {
      EXPECT_THAT(error.what(),
                  ::testing::AllOf(HasSubstr(file.string()), HasSubstr("remove the file")));
      EXPECT_EQ(error.exit_code(), kExitInput);
    }
    EXPECT_EQ(read_file(file), none);
  }
  std::filesystem::remove(file);
  run("run", json, true);
  EXPECT_EQ(read_plan_of(folder_ / "run").size(), 2U);
}

TEST_F(PipelinedTrainingTest, AGivenPlanIsRunAsItIsAndAnothersIsRefusedByItsField) {
  Json json = config("cpu,cpu");
  json["execution"] = {{"device", "cpu,cpu"}, {"costs", "shapes"}};
  run("planned", json);
  Json plan = read_plan_of(folder_ / "planned");
  for (Json& stage : plan) stage["schedule"] = "naive";
  write_file(folder_ / "given.json", dump_json(plan));
  json.erase("execution");
  const auto given = [&](const std::string& name, const Json& configuration) {
    train({.dataset = folder_ / "data",
           .config = configuration,
           .run = folder_ / name,
           .plan = folder_ / "given.json"});
  };
  given("again", json);
  EXPECT_EQ(read_plan_of(folder_ / "again"), plan);
  EXPECT_EQ(weights("again"), weights("planned"));
  json["net"]["width"] = json["net"]["width"].get<int>() + 1;
  try {
    given("other", json);
    FAIL();
  } catch (const UsageError& error) {
    EXPECT_THAT(error.what(), HasSubstr("net.width"));
    EXPECT_THAT(error.what(), HasSubstr("given.json"));
  }
  EXPECT_FALSE(std::filesystem::exists(folder_ / "other"));
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

}  // namespace
}  // namespace lamp
