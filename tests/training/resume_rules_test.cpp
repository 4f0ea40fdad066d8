// Key by key over the whole configuration: what a resume may change, and that nothing else can be
// changed in silence.
#include "lamp/training/resume_rules.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <set>

#include "lamp/base/errors.h"

namespace lamp {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

// Three stages of which the first is finished, the second has begun and the third has not.
TrainConfig three_stages() {
  return parse_train_config(parse_json(R"({
    "net": {"name": "unet", "width": 4, "depth": 1},
    "augment": {"preset": "liver", "affine": {}, "elastic": {}, "intensity": {}, "gamma": {}},
    "loss": {"class_weights": [1, 2]},
    "optimizer": {"name": "sgd", "lr": 0.01},
    "curriculum": [{"patch": [12, 12, 12], "batch": 3, "epochs": 4}, {"patch": [16, 16, 16], "batch": 2, "epochs": 6},
                   {"patch": "whole", "batch": 1, "epochs": 2}],
    "validation": {"every_epochs": 1, "fraction": 0.2, "fold": 1},
    "loader": {"cache": "off", "memory": "1GiB", "cache_limit": "1GiB"},
    "execution": {"device": "cpu", "memory": "4GiB", "deferred_batch_norm": true, "costs": "shapes",
                  "split": "slabs=1"}})",
                                       "test"));
}

RunPosition in_the_second() {
  return {.before = three_stages(),
          .cursor = {.stage = 1, .epoch = 2, .step = 1, .epochs_done = 6}};
}

// Another value of the same kind that the configuration takes.
Json changed(const std::string& key, const Json& value) {
  static const std::map<std::string, Json> others = {
      {"net.name", "seunet"},
      {"data.spacing_mm", Json::array({1.0, 1.0, 2.0})},
      {"data.window", Json::array({-5.0, 5.0})},
      {"data.orientation", "keep"},
      {"data.shear", "resample"},
      {"data.interpolation", "cubic"},
      {"data.nifti_form", "sform"},
      {"sampling.centre", "class"},
      {"augment.flip.axes", Json::array({"z"})},
      {"augment.noise.kind", "gaussian"},
      {"augment.elastic.sigma_voxels", Json::array({9.0, 12.0})},
      {"augment.elastic.magnitude", Json::array({5.0, 6.0})},
      {"augment.gamma.range", Json::array({0.5, 0.75})},
      {"loss.dice", "batch"},
      {"loss.class_weights", Json::array({2.0, 1.0})},
      {"loader.memory", "2GiB"},
      {"loader.cache", "/scratch"},
      {"loader.cache_limit", "2GiB"},
      {"execution.device", "cpu,cpu"},
      {"execution.split", "replicas=1,stages=2,slabs=1"},
      {"execution.precision", "bf16"},
      {"execution.layout", "contiguous"},
      {"execution.partition", "layers"},
      {"execution.microbatches", 2},
      {"execution.schedule", "1f1b"},
      {"execution.recompute", "always"},
      {"execution.deferred_batch_norm", false},
      {"execution.memory", std::int64_t{1} << 30},
      {"execution.costs", "measured"}};
  if (const auto found = others.find(key); found != others.end()) return found->second;
  const std::string last = key.substr(key.rfind('.') + 1);
  if (last == "name") return "adamw";
  if (last == "schedule") return "cosine";
  if (last == "patch") return Json::array({8, 8, 8});
  if (last == "probability") return value == 0.25 ? 0.5 : 0.25;
  if (value.is_number_integer()) return value.get<std::int64_t>() + 1;
  if (value.is_number()) return value.get<double>() + 0.0625;
  ADD_FAILURE() << key << " has no other value in this test: " << value;
  return value;
}

void set(Json& json, const std::string& key, const Json& value) {
  apply_settings(json, {key + "=" + value.dump()});
}

// What the issue lists, written down anew: keys that may change with stage 1 finished, 2 begun and
// 3 to come.
bool may_change(const std::string& key) {
  static const std::set<std::string> always = {"validation.every_epochs",
                                               "checkpoint.every_seconds",
                                               "loader.threads",
                                               "loader.memory",
                                               "loader.cache",
                                               "loader.cache_limit",
                                               "execution.device",
                                               "execution.split",
                                               "execution.precision",
                                               "execution.layout",
                                               "execution.partition",
                                               "execution.microbatches",
                                               "execution.schedule",
                                               "execution.recompute",
                                               "execution.deferred_batch_norm",
                                               "execution.memory",
                                               "execution.costs",
                                               "optimizer.name",
                                               "optimizer.lr",
                                               "optimizer.momentum",
                                               "optimizer.weight_decay",
                                               "optimizer.schedule",
                                               "optimizer.clip_norm"};
  static const std::set<std::string> in_begun = {"curriculum.1.epochs",
                                                 "curriculum.1.optimizer.lr",
                                                 "curriculum.1.optimizer.momentum",
                                                 "curriculum.1.optimizer.weight_decay",
                                                 "curriculum.1.optimizer.schedule",
                                                 "curriculum.1.optimizer.clip_norm"};
  return always.contains(key) || in_begun.contains(key) || key.starts_with("curriculum.2.");
}

TEST(ResumeRulesTest, EveryKeyOfTheConfigurationIsDecidedAndKept) {
  const RunPosition position = in_the_second();
  const Json before = to_json(position.before);
  const auto values = configuration_values(before);
  EXPECT_GT(values.size(), 70U);
  for (const auto& [key, value] : values) {
    ASSERT_TRUE(resume_rule(key).has_value())
        << key << ": a new key: decide in resume_rules.cpp whether a resume may change it";
    Json json = before;
    const Json other = changed(key, value);
    set(json, key, other);
    const TrainConfig now = parse_train_config(json);
    ASSERT_NE(to_json(now), before) << key << " did not change by " << other;
    std::string message = "no error";
    std::vector<std::string> changes;
    try {
      changes = check_resume("RUN", position, now);
    } catch (const UsageError& error) {
      message = error.what();
    }
    if (may_change(key)) {
      EXPECT_EQ(message, "no error") << key;
      ASSERT_FALSE(changes.empty()) << key;
      EXPECT_THAT(changes.front(), HasSubstr(key));
    } else {
      EXPECT_THAT(message, AllOf(HasSubstr("\"" + key + "\""),
                                 HasSubstr(value.is_null() ? "not set" : dump_json(value, -1)),
                                 HasSubstr(dump_json(other, -1)), HasSubstr("another run folder")));
    }
  }
}

TEST(ResumeRulesTest, KeysThatNobodyDecidedAreNotFound) {
  for (const char* key : {"execution.turbo", "validation", "curriculum.0.warmup", "new",
                          "optimizer", "loader.prefetch", "curriculum"})
    EXPECT_FALSE(resume_rule(key).has_value()) << key;
}

TEST(ResumeRulesTest, EpochsMayGrowAndShrinkToWhatIsDone) {
  const RunPosition position = in_the_second();
  const auto message = [&](std::size_t stage, std::int64_t epochs) -> std::string {
    TrainConfig now = position.before;
    now.curriculum[stage].epochs = epochs;
    try {
      check_resume("RUN", position, now);
    } catch (const UsageError& error) {
      return error.what();
    }
    return "";
  };
  EXPECT_EQ(message(1, 7), "");
  EXPECT_EQ(message(1, 3), "");  // two epochs are done and the third has begun
  EXPECT_THAT(message(1, 2), HasSubstr("\"curriculum.1.epochs\" was 6, now 2"));
  EXPECT_THAT(message(0, 5), HasSubstr("finished"));
  EXPECT_EQ(message(2, 1), "");
}

TEST(ResumeRulesTest, StagesMayBeAddedAndThoseToComeDropped) {
  const RunPosition position = in_the_second();
  TrainConfig now = position.before;
  now.curriculum.push_back(now.curriculum.back());
  EXPECT_NO_THROW(check_resume("RUN", position, now));
  now.curriculum.resize(2);
  EXPECT_NO_THROW(check_resume("RUN", position, now));
  now.curriculum.resize(1);
  EXPECT_THROW(check_resume("RUN", position, now), UsageError);
}

class SettingsTest : public ::testing::Test {
 protected:
  // The run's own configuration with settings on top, as the trainer would use it.
  TrainConfig resumed(const std::vector<std::string>& settings,
                      const RunPosition& position = in_the_second()) {
    const Json json = configuration_to_resume(to_json(position.before), true, settings, position);
    TrainConfig config = parse_train_config(json);
    keep_finished_optimizers(config, json, position);
    check_resume("RUN", position, config);
    return config;
  }
  static std::vector<double> rates(const TrainConfig& config) {
    std::vector<double> rates;
    for (const StageConfig& stage : config.curriculum) rates.push_back(stage.optimizer.lr);
    return rates;
  }
};

TEST_F(SettingsTest, TheRunsOptimizerHoldsForTheStagesThatAreLeft) {
  const TrainConfig config = resumed({"optimizer.lr=1e-6"});
  EXPECT_EQ(rates(config), (std::vector<double>{0.01, 1e-6, 1e-6}));
  EXPECT_EQ(config.optimizer.lr, 1e-6);
  for (const StageConfig& stage : config.curriculum) EXPECT_EQ(stage.optimizer.name, "sgd");

  const auto one = [&](const std::string& setting) { return resumed({setting}).curriculum; };
  EXPECT_EQ(one("optimizer.clip_norm=3")[1].optimizer.clip_norm, 3);
  EXPECT_EQ(one("optimizer.clip_norm=3")[0].optimizer.clip_norm, 0);
  EXPECT_EQ(one("optimizer.schedule=cosine")[2].optimizer.schedule, "cosine");
  EXPECT_EQ(one("optimizer.weight_decay=0.5")[1].optimizer.weight_decay, 0.5);
  EXPECT_EQ(one("optimizer.momentum=0.5")[1].optimizer.momentum, 0.5);
}

TEST_F(SettingsTest, ASettingOfTheStageItselfGoesBeforeTheRuns) {
  EXPECT_EQ(rates(resumed({"optimizer.lr=1e-6", "curriculum.2.optimizer.lr=1e-3"})),
            (std::vector<double>{0.01, 1e-6, 1e-3}));
  EXPECT_EQ(rates(resumed({"curriculum.2.optimizer.lr=1e-3"})),
            (std::vector<double>{0.01, 0.01, 1e-3}));
  EXPECT_THROW(resumed({"curriculum.0.optimizer.lr=1e-3"}), UsageError);
}

TEST_F(SettingsTest, AnOptimizerOfAnotherNameIsRefusedWhereItsStateIsInUse) {
  EXPECT_THROW(resumed({"optimizer.name=adamw"}), UsageError);
  RunPosition between = in_the_second();
  between.cursor = {.stage = 0, .epoch = 4, .epochs_done = 4};  // stage 1 finished, 2 not begun
  const TrainConfig config = resumed({"optimizer.name=adamw"}, between);
  EXPECT_EQ(config.curriculum[0].optimizer.name, "sgd");
  EXPECT_EQ(config.curriculum[1].optimizer.name, "adamw");
  EXPECT_EQ(config.curriculum[1].optimizer.weight_decay, 0.01);  // adamw's own default
  EXPECT_EQ(config.curriculum[1].optimizer.lr, 0.01);            // not given: stays
}

TEST_F(SettingsTest, WhatANewCurriculumDoesNotGiveStays) {
  const TrainConfig config = resumed(
      {R"(curriculum=[{"patch":[12,12,12],"batch":3,"epochs":4},{"patch":[16,16,16],"batch":2,"epochs":9},{"patch":"whole","epochs":1},{"patch":"whole","epochs":5}])"});
  ASSERT_EQ(config.curriculum.size(), 4U);
  for (const StageConfig& stage : config.curriculum) {
    EXPECT_EQ(stage.optimizer.name, "sgd");
    EXPECT_EQ(stage.optimizer.lr, 0.01);
    EXPECT_EQ(stage.optimizer.momentum, 0.9);
  }
  EXPECT_EQ(config.curriculum[1].epochs, 9);
}

TEST_F(SettingsTest, NothingIsLeftOfAFinishedRunForASettingToReach) {
  RunPosition finished = in_the_second();
  finished.cursor = {.stage = 2, .epoch = 2, .epochs_done = 12};
  EXPECT_THROW(resumed({"optimizer.lr=1e-6"}, finished), UsageError);
  EXPECT_EQ(rates(resumed({"optimizer.lr=1e-6", "curriculum.2.epochs=3"}, finished)),
            (std::vector<double>{0.01, 0.01, 1e-6}));
  // By value, from a configuration file: the same.
  TrainConfig file = finished.before;
  file.optimizer.lr = 0.5;
  EXPECT_THROW(check_resume("RUN", finished, file), UsageError);
}

TEST_F(SettingsTest, ThePlaceMustExist) {
  Json json = to_json(three_stages());
  EXPECT_THROW(apply_settings(json, {"curriculum.3.epochs=1"}), UsageError);
  EXPECT_THROW(apply_settings(json, {"curriculum.x.epochs=1"}), UsageError);
  EXPECT_THROW(apply_settings(json, {"seed.deeper=1"}), UsageError);
  json["curriculum"].push_back(nullptr);
  EXPECT_THROW(parse_train_config(json), UsageError);  // no stage of its own accord
}

TEST(OldConfigurationTest, TheRunsOptimizerIsThatOfItsStagesWhereTheyAgree) {
  Json json = to_json(three_stages());
  const Json optimizer = json["optimizer"];
  json.erase("optimizer");
  EXPECT_EQ(with_run_optimizer(json)["optimizer"], optimizer);
  json["curriculum"][2]["optimizer"]["lr"] = 0.5;
  EXPECT_FALSE(with_run_optimizer(json).contains("optimizer"));
  const RunPosition position = in_the_second();
  const std::vector<std::string> bare = {
      R"(curriculum=[{"epochs":4},{"epochs":6},{"epochs":2},{"epochs":1}])"};
  EXPECT_THROW(configuration_to_resume(json, true, bare, position), UsageError);
}

}  // namespace
}  // namespace lamp
