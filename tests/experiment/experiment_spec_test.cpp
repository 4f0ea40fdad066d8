#include "lamp/experiment/experiment_spec.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "lamp/base/errors.h"

namespace lamp {
namespace {

using ::testing::HasSubstr;

Json small() {
  return parse_json(R"({
    "title": "t", "phantoms": {"kind": "twins"}, "seeds": [0, 1],
    "train": {"net": {"width": 4}, "optimizer": {"name": "adamw", "lr": 1e-3},
              "curriculum": [{"patch": "whole", "batch": 1, "epochs": 2}]},
    "segment": {"overlap": 0.25},
    "conditions": [
      {"name": "a"},
      {"name": "b", "train": {"net": {"width": 8}}, "segment": {"patch": [16, 16, 16]}}],
    "claims": [{"claim": "b wins", "better": "b", "than": "a"}]})",
                    "test");
}

std::string message_of(const Json& json) {
  try {
    parse_experiment(json);
  } catch (const UsageError& error) {
    return error.what();
  }
  return "no error";
}

TEST(ExperimentSpecTest, AConditionIsWhatAllShareWithItsOwnOnTop) {
  const Experiment experiment = parse_experiment(small());
  ASSERT_EQ(experiment.conditions.size(), 2U);
  const Condition& a = experiment.conditions[0];
  const Condition& b = experiment.conditions[1];
  EXPECT_EQ(a.train["net"]["width"], 4);
  EXPECT_EQ(b.train["net"]["width"], 8);
  EXPECT_EQ(b.train["curriculum"][0]["optimizer"]["lr"], 1e-3);
  EXPECT_EQ(a.patch, "whole");
  EXPECT_EQ(b.patch, "16,16,16");
  EXPECT_EQ(b.overlap, 0.25);
  EXPECT_FALSE(a.train.contains("seed")) << "the experiment's seeds count";
}

TEST(ExperimentSpecTest, EveryPresetIsWholeAndItsClaimsSpeakOfItsRows) {
  const auto names = experiment_names();
  for (const char* needed : {"context-small", "context-full", "size-small", "size-full",
                             "speed-small", "speed-full", "missing-small"})
    EXPECT_THAT(names, ::testing::Contains(needed));
  for (const std::string& name : names) {
    const Experiment experiment = parse_experiment(parse_json(*experiment_text(name), name));
    EXPECT_FALSE(experiment.title.empty()) << name;
    EXPECT_FALSE(experiment.claims.empty()) << name;
    EXPECT_TRUE(!experiment.conditions.empty() || !experiment.timings.empty()) << name;
    for (const Condition& condition : experiment.conditions) {
      if (condition.paper.empty()) continue;
      bool found = false;
      for (const PaperTable& table : experiment.paper)
        found |= !table.last_of(condition.paper).empty();
      EXPECT_TRUE(found) << name << ": " << condition.paper;
    }
  }
}

TEST(ExperimentSpecTest, SmallPresetsUseThreeSeedsAndTheSameStepsForEveryInputSize) {
  const Experiment context =
      parse_experiment(parse_json(*experiment_text("context-small"), "context-small"));
  EXPECT_GE(context.seeds.size(), 3U);
  for (const Condition& condition : context.conditions) {
    double steps = 0;
    for (const Json& stage : condition.train["curriculum"]) {
      const int batch = stage["batch"].get<int>();
      steps += stage["epochs"].get<int>() * ((context.phantoms->train + batch - 1) / batch);
    }
    EXPECT_EQ(steps, 384) << condition.name;
  }
}

TEST(ExperimentSpecTest, RefusesWhatCannotBeMeant) {
  Json json = small();
  json["condition"] = Json::array();
  EXPECT_THAT(message_of(json), HasSubstr("conditions"));  // the nearest key
  json = small();
  json["claims"][0]["than"] = "aa";
  EXPECT_THAT(message_of(json), HasSubstr("which is no row; known: a"));
  json = small();
  json["conditions"][1]["name"] = "a";
  EXPECT_THAT(message_of(json), HasSubstr("two conditions are named a"));
  json = small();
  json["conditions"][0]["starts_from"] = "b";
  EXPECT_THAT(message_of(json), HasSubstr("no condition before it"));
  json = small();
  json["conditions"][1]["starts_from"] = "a";
  json["conditions"][1]["hide"] = 0.5;
  EXPECT_THAT(message_of(json), HasSubstr("hides other annotations"));
  json = small();
  json["conditions"][0]["hide"] = 1.5;
  EXPECT_THAT(message_of(json), HasSubstr("hide"));
  json["conditions"][0]["hide"] = 0.5;
  json["conditions"][0]["complete_cases"] = 0.5;
  EXPECT_THAT(message_of(json), HasSubstr("complete_cases"));
  json = small();
  json["conditions"][0]["train"]["optimizer"]["lr"] = -1;
  EXPECT_THAT(message_of(json), HasSubstr("optimizer.lr"));
  json = small();
  json["seeds"] = Json::array();
  EXPECT_THAT(message_of(json), HasSubstr("seeds"));
}

}  // namespace
}  // namespace lamp
