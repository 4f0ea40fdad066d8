// A run from its first step to its last, and what it refuses.
#include "lamp/training/trainer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/types.h>

#include <filesystem>
#include <fstream>

#include "lamp/base/safetensors.h"
#include "lamp/execution/numeric_guard.h"
#include "support/folder_contents.h"
#include "training/trainer_fixture.h"

namespace lamp {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using testing::TrainerTest;
namespace fs = std::filesystem;

TEST_F(TrainerTest, LearnsAndLeavesACompleteRunFolder) {
  Json config = testing::ball_config();
  config["curriculum"][1]["epochs"] = 14;
  config["optimizer"]["lr"] = 0.01;
  const TrainSummary summary = run("run", config);
  EXPECT_GT(summary.best_dice, 0.8);
  EXPECT_EQ(summary.epochs, 16);
  for (const char* file :
       {"config.json", "data_fingerprint.json", "plan.json", "metrics.csv", "train.log",
        "best.safetensors", "last.safetensors", "state/state.safetensors"})
    EXPECT_TRUE(fs::is_regular_file(folder_ / "run" / file)) << file;
  std::ifstream metrics(folder_ / "run" / "metrics.csv");
  std::string header;
  std::getline(metrics, header);
  EXPECT_EQ(header, "epoch,stage,loss,learning_rate,seconds,dice_mean,dice_ball");
  int rows = 0;
  for (std::string line; std::getline(metrics, line);) ++rows;
  EXPECT_EQ(rows, 16);
}

// Not after the stages before it have been trained.
TEST_F(TrainerTest, AStageThatLeavesBatchNormASingleValueIsRefusedBeforeTheFirst) {
  Json config = testing::ball_config();
  config["net"]["depth"] = 4;  // stride 32, volumes of about 20
  config["curriculum"][0]["patch"] = {32, 32, 32};
  EXPECT_THAT(
      message_of("run", config),
      ::testing::AllOf(HasSubstr("stage 2 (whole volumes, batch 1)"), HasSubstr("single value")));
  EXPECT_FALSE(fs::exists(folder_ / "run" / "config.json"));
  config["curriculum"][0]["batch"] = 1;
  EXPECT_THAT(message_of("run", config), HasSubstr("stage 1 (32x32x32, batch 1)"));
  for (Json& stage : config["curriculum"]) {
    stage["batch"] = 2;
    stage["epochs"] = 1;
  }
  EXPECT_EQ(message_of("run", config), "no error");
}

TEST_F(TrainerTest, TheNumberOfLoaderThreadsChangesNothing) {
  Json config = testing::ball_config();
  config["loader"]["threads"] = 1;
  run("one", config);
  config["loader"]["threads"] = 4;
  config["loader"]["memory"] = "100kB";  // cases are dropped and read again
  run("four", config);
  EXPECT_EQ(bytes("one/last.safetensors"), bytes("four/last.safetensors"));
}

// The first run with the cache fills it, the second only reads it.
TEST_F(TrainerTest, TheCacheOfPreparedCasesChangesNothing) {
  Json config = testing::ball_config();
  for (const Json& spacing : {Json("keep"), Json({1.5, 1, 1.5})}) {
    config["data"]["spacing_mm"] = spacing;
    const std::string grid = spacing.is_array() ? "resampled-" : "kept-";
    config["loader"]["cache"] = "off";
    run(grid + "off", config);
    config["loader"]["cache"] = (folder_ / "cache").string();
    run(grid + "cold", config);
    run(grid + "warm", config);
    for (const char* file : {"/last.safetensors", "/best.safetensors"}) {
      EXPECT_EQ(bytes(grid + "off" + file), bytes(grid + "cold" + file));
      EXPECT_EQ(bytes(grid + "off" + file), bytes(grid + "warm" + file));
    }
  }
  int cases = 0;
  for (const auto& entry : fs::directory_iterator(folder_ / "cache"))
    cases += entry.path().extension() == ".case";
  EXPECT_EQ(cases, 2 * 5);
}

TEST_F(TrainerTest, TheCacheHasAFolderOfItsOwn) {
  for (const char* place : {"data", "data/imagesTr", "data/imagesTr/cache", "data/labelsTr/x"}) {
    const auto before = testing::contents_of(folder_ / "data");
    Json config = testing::ball_config();
    config["loader"]["cache"] = (folder_ / place).string();
    try {
      run("run", config);
      ADD_FAILURE() << place;
    } catch (const UsageError& error) {
      EXPECT_THAT(error.what(), HasSubstr("loader.cache"));
      EXPECT_THAT(error.what(), HasSubstr((folder_ / place).string()));
    }
    EXPECT_EQ(testing::contents_of(folder_ / "data"), before);
  }
}

TEST_F(TrainerTest, StopsAtANonFiniteLossNamesTheLayerAndKeepsTheLastState) {
  Json config = testing::ball_config();
  run("run", config);
  const std::string before = bytes("run/state/state.safetensors");
  config["curriculum"].push_back(
      {{"patch", "whole"}, {"epochs", 50}, {"optimizer", {{"name", "sgd"}, {"lr", 1e30}}}});
  const std::string message = message_of("run", config, true);
  EXPECT_THAT(message, HasSubstr("training stopped"));
  EXPECT_THAT(message, HasSubstr("stage 3, epoch 1"));
  EXPECT_THAT(message, ::testing::ContainsRegex("layer [a-z]+coder_[0-9]"));
  EXPECT_EQ(bytes("run/state/state.safetensors"), before);
}

TEST_F(TrainerTest, NanInAGradientIsFoundAndNamed) {
  const torch::Tensor good = torch::ones({2}).requires_grad_();
  const torch::Tensor bad = torch::ones({2}).requires_grad_();
  (good * 2 + torch::sqrt(bad - 1) * 0).sum().backward();
  const NamedParameters parameters = {{"good", good}, {"bad", bad}};
  EXPECT_FALSE(std::isfinite(gradient_norm(parameters)));
  EXPECT_EQ(first_non_finite_gradient(parameters), "bad");
}

TEST_F(TrainerTest, RefusesANetworkOrPatchThatDoesNotFitTheData) {
  Json config = testing::ball_config();
  config["net"]["classes"] = 5;
  EXPECT_THAT(message_of("a", config),
              AllOf(HasSubstr("net.classes: found 5"), HasSubstr("has 2")));
  config["net"]["classes"] = 2;
  config["net"]["in_channels"] = 3;
  EXPECT_THAT(message_of("a", config),
              AllOf(HasSubstr("net.in_channels: found 3"), HasSubstr("has 1")));
  config["net"]["in_channels"] = 1;
  config["curriculum"][0]["patch"] = {12, 3, 12};
  EXPECT_THAT(message_of("a", config), AllOf(HasSubstr("12,3,12"), HasSubstr("4 voxels or more")));
  config["curriculum"][0]["patch"] = {12, 12, 12};
  config["loss"]["class_weights"] = {1, 2, 3};
  EXPECT_THAT(message_of("b", config), AllOf(HasSubstr("class_weights"), HasSubstr("expected 2")));
  config["loss"].erase("class_weights");
  config["execution"]["precision"] = "fp16";
  EXPECT_THAT(message_of("b", config), HasSubstr("fp16 needs a GPU"));
  for (const char* folder : {"a", "b"}) EXPECT_FALSE(fs::exists(folder_ / folder)) << folder;
}

TEST_F(TrainerTest, ABrokenImageIsAnInputErrorThatNamesTheFile) {
  fs::resize_file(folder_ / "data" / "imagesTr" / "ball_2.nii.gz", 200);
  try {
    run("run", testing::ball_config());
    FAIL();
  } catch (const InputError& error) {
    EXPECT_THAT(error.file(), HasSubstr("ball_2.nii.gz"));
  }
}

TEST_F(TrainerTest, TheModelSaysWhatItWasTrainedOn) {
  Json config = testing::ball_config();
  config["augment"] = {{"flip", {{"probability", 0.5}, {"axes", {"x", "z"}}}}};
  run("run", config);
  for (const char* file : {"run/best.safetensors", "run/last.safetensors"}) {
    const Json model = Json::parse(read_safetensors(folder_ / file).metadata.at("config"));
    EXPECT_EQ(model["mirrored_axes"], Json::array({"x", "z"}));
    const Json& found = model["intensities"]["channels"][0];
    EXPECT_EQ(model["intensities"]["cases"], 4);
    // The data set's own making: noise of deviation 10 about 0, and about 100 in the balls.
    EXPECT_NEAR(found["outside"]["mean"].get<double>(), 0, 1);
    EXPECT_NEAR(found["outside"]["sd"].get<double>(), 10, 0.5);
    EXPECT_NEAR(found["inside"]["mean"].get<double>(), 100, 1);
    EXPECT_NEAR(found["inside"]["percentiles"]["50"].get<double>(), 100, 1);
    EXPECT_NEAR(found["outside"]["percentiles"]["95"].get<double>(), 16.4, 1);
  }
  EXPECT_EQ(read_json(folder_ / "run" / "intensities.json")["intensities"],
            Json::parse(read_safetensors(folder_ / "run" / "last.safetensors")
                            .metadata.at("config"))["intensities"]);
}

// The best network is chosen by them, so a foreign one among them is told of, too.
TEST_F(TrainerTest, AHeldOutCaseUnlikeTheTrainingCasesIsToldOf) {
  Json config = testing::ball_config();
  const auto warnings = [&](const std::string& name) {
    run(name, config);
    return read_json(folder_ / name / "intensities.json")["warnings"].dump();
  };
  EXPECT_THAT(warnings("sound"), ::testing::Not(HasSubstr("values unlike")));
  const auto name = read_json(folder_ / "sound" / "split.json")["validation"][0].get<std::string>();
  const fs::path image = folder_ / "data" / "imagesTr" / (name + ".nii.gz");
  Volume volume = read_image(image);
  volume.voxels = volume.voxels + 1024;  // another zero of the same scale
  write_volume(image, volume);
  EXPECT_THAT(warnings("foreign"),
              HasSubstr(name + " (held out): values unlike those of the training cases"));
  // Nothing is learned from it: the model's description is that of the four others.
  EXPECT_EQ(read_json(folder_ / "foreign" / "intensities.json")["intensities"],
            read_json(folder_ / "sound" / "intensities.json")["intensities"]);
}

TEST_F(TrainerTest, SaysThatThereIsNothingToLearn) {
  Json config = testing::ball_config();
  run("some", config);
  EXPECT_EQ(bytes("some/train.log").find("warning"), std::string::npos);
  config["data"]["window"] = {1000, 2000};
  run("window", config);
  EXPECT_THAT(
      bytes("window/train.log"),
      AllOf(HasSubstr("100 % of the labelled voxels are clipped"), HasSubstr("[1000, 2000]")));
  config = testing::ball_config();
  Json dataset = read_json(folder_ / "data" / "dataset.json");
  dataset["labels"]["2"] = "cyst";
  dataset["labels"]["3"] = "stone";
  for (auto& entry : dataset["training"]) entry["annotated"] = {1, 3};
  std::ofstream(folder_ / "data" / "dataset.json") << dataset.dump();
  run("partly", config);
  EXPECT_THAT(bytes("partly/train.log"),
              AllOf(HasSubstr("label 2 \"cyst\" is annotated in no training case"),
                    HasSubstr("label 3 \"stone\" is in none of the 4 training cases")));
  for (int i = 0; i < 5; ++i) {
    const fs::path file = folder_ / "data" / "labelsTr" / ("ball_" + std::to_string(i) + ".nii.gz");
    Volume label = read_label(file);
    label.voxels.zero_();
    write_volume(file, label);
  }
  EXPECT_THAT(message_of("empty", config), HasSubstr("no foreground"));
  EXPECT_FALSE(fs::exists(folder_ / "empty"));
}

TEST_F(TrainerTest, PartlyAnnotatedCasesTrain) {
  Json dataset = read_json(folder_ / "data" / "dataset.json");
  dataset["labels"]["2"] = "never seen";
  for (auto& entry : dataset["training"]) entry["annotated"] = {1};
  std::ofstream(folder_ / "data" / "dataset.json") << dataset.dump();
  EXPECT_EQ(run("run", testing::ball_config()).epochs, 4);
}

}  // namespace
}  // namespace lamp
