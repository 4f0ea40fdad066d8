#include "lamp/training/train_config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "lamp/base/errors.h"

namespace lamp {
namespace {

using ::testing::HasSubstr;

Json minimal() {
  return parse_json(R"({"curriculum": [{"patch": "whole", "epochs": 2}]})", "test");
}

std::string config_message(const Json& json) {
  try {
    parse_train_config(json);
  } catch (const UsageError& error) {
    return error.what();
  }
  return "no error";
}

TEST(TrainConfigTest, EveryPresetParsesAndSurvivesARoundTrip) {
  for (const std::string& name : preset_names()) {
    const TrainConfig config = parse_train_config(read_config(name, {}));
    EXPECT_EQ(to_json(parse_train_config(to_json(config))), to_json(config)) << name;
  }
  EXPECT_THAT(preset_names(), ::testing::IsSupersetOf({"demo", "han", "liver"}));
}

TEST(TrainConfigTest, AcceptsADocumentedConfiguration) {
  const Json json = parse_json(R"({
    "net": {"name": "unet", "width": 32, "depth": 4},  // a comment
    "data": {"spacing_mm": [1, 1, 1], "window": [-21, 89], "orientation": "LPS"},
    "augment": {"preset": "liver"},
    "loss": {"dice": "per_sample", "focal_weight": 0.5, "class_weights": "uniform"},
    "optimizer": {"name": "rmsprop", "lr": 1e-3},
    "curriculum": [ {"patch": [64, 64, 64], "batch": 16, "epochs": 4800},
                    {"patch": [128, 128, 128], "batch": 4, "epochs": 1200},
                    {"patch": "whole", "batch": 1, "epochs": 300} ],
    "validation": {"every_epochs": 10, "fraction": 0.1},
    "execution": {"device": "auto", "precision": "fp32", "partition": "auto", "microbatches": "auto",
                  "schedule": "gpipe", "recompute": "auto"},
    "seed": 0})",
                               "example");
  const TrainConfig config = parse_train_config(json);
  ASSERT_EQ(config.curriculum.size(), 3U);
  EXPECT_EQ(config.curriculum[0].batch, 16);
  EXPECT_EQ((*config.curriculum[1].patch)[2], 128);
  EXPECT_FALSE(config.curriculum[2].patch.has_value());
  EXPECT_DOUBLE_EQ(config.curriculum[2].optimizer.lr, 1e-3);
}

TEST(TrainConfigTest, UnknownKeysNameTheNearestKnownOne) {
  Json json = minimal();
  json["optimiser"] = Json::object();
  EXPECT_THAT(config_message(json),
              ::testing::AllOf(HasSubstr("optimiser"), HasSubstr("\"optimizer\"")));
  json = minimal();
  json["optimizer"]["learning_rate"] = 1;
  EXPECT_THAT(config_message(json), HasSubstr("optimizer.learning_rate: unknown key"));
  json = minimal();
  json["curriculum"][0]["batches"] = 1;
  EXPECT_THAT(config_message(json), HasSubstr("curriculum.0.batches"));
}

TEST(TrainConfigTest, WrongTypesAndImpossibleValuesSayWhatIsExpected) {
  const std::vector<std::pair<std::string, Json>> cases = {{"/optimizer/lr", "fast"},
                                                           {"/optimizer/lr", -1},
                                                           {"/optimizer/name", "adamm"},
                                                           {"/curriculum/0/patch", {1, 2}},
                                                           {"/curriculum/0/patch", {0, 8, 8}},
                                                           {"/curriculum/0/epochs", 0},
                                                           {"/curriculum", Json::array()},
                                                           {"/validation/fraction", 1.0},
                                                           {"/seed", "x"},
                                                           {"/data/window", {5, 5}},
                                                           {"/data/spacing_mm", {1, 0, 1}},
                                                           {"/data", 3},
                                                           {"/execution/precision", "fp8"},
                                                           {"/net/width", 0},
                                                           {"/loader/memory", "lots"}};
  for (const auto& [pointer, value] : cases) {
    Json json = minimal();
    json[Json::json_pointer(pointer)] = value;
    EXPECT_THAT(config_message(json), HasSubstr("expected")) << pointer << " " << value;
  }
}

TEST(TrainConfigTest, SettingsReachIntoTheConfiguration) {
  const Json json =
      read_config("demo", {"optimizer.lr=0.25", "curriculum.0.batch=7", "execution.device=cpu"});
  EXPECT_EQ(json["optimizer"]["lr"], 0.25);
  EXPECT_EQ(json["curriculum"][0]["batch"], 7);
  EXPECT_EQ(json["execution"]["device"], "cpu");
  EXPECT_THROW(read_config("demo", {"lr"}), UsageError);
  EXPECT_THROW(read_config("no-such-preset", {}), UsageError);
}

TEST(TrainConfigTest, AShorthandTakesThePlaceOfExplicitKeys) {
  const auto with = [](const std::vector<std::string>& settings) {
    Json json = to_json(parse_train_config(minimal()));  // as a run records it: every key
    json["loss"]["class_weights"] = "uniform";
    json["loss"]["boundary_weight"] = 0.25;
    apply_settings(json, settings);
    return parse_train_config(json);
  };
  const TrainConfig named = with({"loss.name=cross_entropy", "augment.preset=han"});
  EXPECT_EQ(named.loss.dice, "none");
  EXPECT_EQ(named.loss.cross_entropy_weight, 1);
  EXPECT_EQ(named.loss.boundary_weight, 0);
  EXPECT_EQ(named.loss.class_weights, "uniform");
  EXPECT_EQ(named.augment.elastic.probability, 0.8);
  // Whatever the order, what the same command line refines stays.
  const TrainConfig refined = with({"loss.focal_weight=0.75", "augment.elastic.probability=0.5",
                                    "loss.name=cross_entropy", "augment.preset=han"});
  EXPECT_EQ(refined.loss.focal_weight, 0.75);
  EXPECT_EQ(refined.loss.cross_entropy_weight, 1);
  EXPECT_EQ(refined.augment.elastic.probability, 0.5);
  EXPECT_EQ(refined.augment.affine.probability, 0.8);
}

TEST(TrainConfigTest, TwoSettingsOfOnePlaceAreRefusedAndBothNamed) {
  const std::vector<std::vector<std::string>> twice = {
      {"optimizer.lr=1", "seed=3", "optimizer.lr=2"},
      {"seed=3", "seed=3"},
      {"optimizer.lr=1", R"(optimizer={"lr": 2})"},
      {R"(optimizer={"lr": 2})", "optimizer.lr=1"},
      {"curriculum.0.batch=2", "curriculum=[]"},
      {"curriculum.0.batch=2", "curriculum.00.batch=3"}};
  for (const auto& settings : twice) {
    std::string message = "no error";
    try {
      check_settings(settings);
    } catch (const UsageError& error) {
      message = error.what();
    }
    EXPECT_THAT(message, HasSubstr(settings.front()));
    EXPECT_THAT(message, HasSubstr(settings.back()));
  }
  EXPECT_NO_THROW(check_settings({"optimizer.lr=1", "optimizer.lrs=2", "curriculum.0.batch=2",
                                  "curriculum.1.batch=2", "curriculum.10.batch=2", "loss.name=a",
                                  "loss.focal_weight=1"}));
  EXPECT_THROW(check_settings({"lr"}), UsageError);
}

TEST(TrainConfigTest, TheCacheIsAutomaticOffOrAFolder) {
  const Json demo = read_config("demo", {});
  EXPECT_EQ(parse_train_config(demo).loader.cache, "auto");
  EXPECT_FALSE(parse_train_config(demo).loader.cache_limit);
  const TrainConfig config = parse_train_config(
      read_config("demo", {"loader.cache=/scratch/cases", "loader.cache_limit=3GiB"}));
  EXPECT_EQ(config.loader.cache, "/scratch/cases");
  EXPECT_EQ(config.loader.cache_limit, std::int64_t{3} << 30);
  EXPECT_EQ(to_json(parse_train_config(to_json(config))), to_json(config));
  EXPECT_THROW(parse_train_config(read_config("demo", {"loader.cache=true"})), UsageError);
  EXPECT_THROW(parse_train_config(read_config("demo", {"loader.cache="})), UsageError);
  EXPECT_THROW(parse_train_config(read_config("demo", {"loader.cache_limit=much"})), UsageError);
}

TEST(TrainConfigTest, AStageMayHaveItsOwnOptimizer) {
  Json json = minimal();
  json["optimizer"] = {{"name", "rmsprop"}, {"lr", 0.001}, {"weight_decay", 0.5}};
  json["curriculum"].push_back(
      {{"patch", "whole"}, {"optimizer", {{"name", "sgd"}, {"lr", 1e-4}}}});
  const TrainConfig config = parse_train_config(json);
  EXPECT_EQ(config.curriculum[0].optimizer.weight_decay, 0.5);
  EXPECT_EQ(config.curriculum[1].optimizer.name, "sgd");
  EXPECT_EQ(config.curriculum[1].optimizer.momentum, 0.9);
  EXPECT_EQ(config.curriculum[1].optimizer.weight_decay, 0);
}

TEST(TrainConfigTest, ACurriculumHasAtMostAThousandStages) {
  Json json = parse_json(R"({"curriculum": []})", "test");
  for (int i = 0; i < 1000; ++i)
    json["curriculum"].push_back({{"patch", {16, 16, 16}}, {"batch", 2}, {"epochs", 1}});
  EXPECT_EQ(parse_train_config(json).curriculum.size(), 1000U);
  json["curriculum"].push_back(json["curriculum"][0]);
  EXPECT_THAT(config_message(json), HasSubstr("found 1001 stages, expected at most 1000"));
}

}  // namespace
}  // namespace lamp
