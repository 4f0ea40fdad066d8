#include "lamp/training/trainer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/torch.h>

#include <cmath>
#include <csignal>
#include <fstream>

#include "lamp/base/csv.h"
#include "lamp/base/errors.h"
#include "lamp/base/files.h"
#include "lamp/base/log.h"
#include "lamp/base/safetensors.h"
#include "lamp/execution/numeric_guard.h"
#include "lamp/training/run_state.h"
#include "support/ball_dataset.h"
#include "support/signals.h"
#include "support/temporary_folder.h"

namespace lamp {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
namespace fs = std::filesystem;

class TrainerTest : public ::testing::Test {
 protected:
  TrainerTest() {
    set_log_level(LogLevel::kWarning);
    testing::forget_signals();
    testing::write_ball_dataset(folder_ / "data", 5);
  }
  ~TrainerTest() override {
    testing::forget_signals();
    close_log_file();
  }

  TrainSummary run(const std::string& name, const Json& config, bool resume = false) {
    return train(
        {.dataset = folder_ / "data", .config = config, .run = folder_ / name, .resume = resume});
  }
  std::string message_of(const std::string& name, const Json& config, bool resume = false) {
    try {
      run(name, config, resume);
    } catch (const Error& error) {
      return error.what();
    }
    return "no error";
  }
  std::string bytes(const std::string& file) { return read_file(folder_ / file); }

  testing::TemporaryFolder folder_;
};

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

// Stops after every single step, goes on with --resume, and must end with the bytes of the run that
// never stopped.
TEST_F(TrainerTest, ARunStoppedAfterEveryStepEndsBitIdentical) {
  for (const char* optimizer : {"rmsprop", "adamw"}) {
    Json config = testing::ball_config();
    config["optimizer"]["name"] = optimizer;
    config["curriculum"][1]["optimizer"] = {{"schedule", "cosine"}};
    const std::string whole = std::string("whole-") + optimizer;
    const std::string pieces = std::string("pieces-") + optimizer;
    run(whole, config);
    testing::send_signal(SIGTERM);
    int stops = 0;
    for (bool finished = false; !finished; ++stops) {
      try {
        run(pieces, config, true);
        finished = true;
      } catch (const Interrupted& stop) {
        EXPECT_EQ(stop.exit_code(), 143);
        ASSERT_LT(stops, 100);
      }
    }
    testing::forget_signals();
    EXPECT_GE(stops, 10);
    EXPECT_EQ(bytes(whole + "/last.safetensors"), bytes(pieces + "/last.safetensors"));
    EXPECT_EQ(bytes(whole + "/best.safetensors"), bytes(pieces + "/best.safetensors"));
    const auto a = read_safetensors(state_file(folder_ / whole)).tensors;
    const auto b = read_safetensors(state_file(folder_ / pieces)).tensors;
    ASSERT_EQ(a.size(), b.size());
    for (const auto& [name, tensor] : a) EXPECT_TRUE(torch::equal(tensor, b.at(name))) << name;
  }
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

TEST_F(TrainerTest, MetricsRowsPastTheSavedStateAreDroppedAtAResume) {
  const Json config = testing::ball_config();
  testing::send_signal(SIGINT);
  EXPECT_THROW(run("run", config), Interrupted);
  testing::forget_signals();
  std::ofstream(folder_ / "run" / "metrics.csv", std::ios::app) << "1,1,0.5,0.001,1,,\n2,1,0.4,0.0";
  run("run", config, true);
  std::ifstream metrics(folder_ / "run" / "metrics.csv");
  std::vector<std::string> epochs;
  for (std::string line; std::getline(metrics, line);)
    epochs.push_back(line.substr(0, line.find(',')));
  EXPECT_EQ(epochs, (std::vector<std::string>{"epoch", "1", "2", "3", "4"}));
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

TEST_F(TrainerTest, AResumedRunKeepsTheLayoutItBeganWith) {
  const auto layout = [&](const std::string& name) {
    return read_json(folder_ / name / "config.json")["execution"]["layout"].get<std::string>();
  };
  const Json config = testing::ball_config();
  run("auto", config);
  EXPECT_NE(layout("auto"), "auto");

  Json contiguous = config;
  contiguous["execution"]["layout"] = "contiguous";
  run("whole", contiguous);
  testing::send_signal(SIGINT);
  EXPECT_THROW(run("pieces", contiguous, true), Interrupted);
  testing::forget_signals();
  run("pieces", config, true);  // "auto" now
  EXPECT_EQ(layout("pieces"), "contiguous");
  EXPECT_EQ(bytes("whole/last.safetensors"), bytes("pieces/last.safetensors"));
}

TEST_F(TrainerTest, RefusesToTrainOverARunUnlessAskedToResume) {
  const Json config = testing::ball_config();
  run("run", config);
  EXPECT_THAT(message_of("run", config), HasSubstr("--resume"));
}

TEST_F(TrainerTest, RefusesToResumeWithAnotherNetworkOrDataSet) {
  Json config = testing::ball_config();
  run("run", config);
  Json wider = config;
  wider["net"]["width"] = 8;
  EXPECT_THAT(message_of("run", wider, true), HasSubstr("\"net.width\" was 4, now 8"));
  testing::write_ball_dataset(folder_ / "data", 6);
  EXPECT_THAT(message_of("run", config, true), HasSubstr("data set has changed"));
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

TEST_F(TrainerTest, AFinishedRunMayBeResumedAndExtended) {
  Json config = testing::ball_config();
  run("run", config);
  EXPECT_EQ(run("run", config, true).epochs, 4);
  config["curriculum"].push_back({{"patch", "whole"}, {"epochs", 1}});
  EXPECT_EQ(run("run", config, true).epochs, 5);
  config["curriculum"][2]["epochs"] = 3;
  EXPECT_EQ(run("run", config, true).epochs, 7);
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

// The provenance that best.safetensors carries, and the row of metrics.csv of that epoch.
struct BestOfRun {
  Json provenance;
  std::vector<double> dice_means;  // by row; NaN where the cell is empty
};

BestOfRun best_of(const fs::path& run) {
  const auto metadata = read_safetensors_metadata(run / "best.safetensors");
  BestOfRun best{.provenance = Json::parse(metadata.at("config"))["provenance"]};
  const std::string text = read_file(run / "metrics.csv");
  const auto records = csv_records(text);
  for (std::size_t i = 1; i < records.size(); ++i) {
    const std::string cell = csv_fields(records[i]).at(5);
    best.dice_means.push_back(cell.empty() ? std::nan("") : std::stod(cell));
  }
  return best;
}

// Two data sets of negatives: one without any foreground, one whose held-out cases have none.
TEST_F(TrainerTest, HeldOutCasesWithoutForegroundAreScoredByWhatIsFoundInThem) {
  Json dataset = read_json(folder_ / "data" / "dataset.json");
  for (int i : {3, 4}) {
    const std::string name = "labelsTr/ball_" + std::to_string(i) + ".nii.gz";
    Volume label = read_label(folder_ / "data" / name);
    label.voxels.zero_();
    write_volume(folder_ / "data" / name, label);
    dataset["validation"].push_back(dataset["training"][3]);
    dataset["training"].erase(3);
  }
  std::ofstream(folder_ / "data" / "dataset.json") << dataset.dump();
  Json config = testing::ball_config();
  config["curriculum"][1]["epochs"] = 6;
  const TrainSummary summary = run("run", config);
  const BestOfRun best = best_of(folder_ / "run");
  ASSERT_EQ(best.dice_means.size(), 8U);
  double most = -1;
  for (const double mean : best.dice_means) {
    EXPECT_TRUE(mean == 0 || mean == 1) << mean << ": found something, or rightly nothing";
    most = std::max(most, mean);
  }
  EXPECT_EQ(summary.best_dice, most);
  EXPECT_EQ(best.provenance["validation_dice"].get<double>(), most);
  const auto epoch = best.provenance["epoch"].get<std::size_t>();
  EXPECT_EQ(best.dice_means.at(epoch - 1), most);
  if (most == 1) {
    for (std::size_t later = epoch; later < 8; ++later)
      EXPECT_LT(best.dice_means[later], 1) << "the latest of equals";
  }
}

TEST_F(TrainerTest, WithoutAnnotatedHeldOutCasesTheBestIsTheLatest) {
  Json dataset = read_json(folder_ / "data" / "dataset.json");
  dataset["labels"]["2"] = "never seen";
  dataset["validation"].push_back(dataset["training"][4]);
  dataset["validation"][0]["annotated"] = {2};
  dataset["training"].erase(4);
  Volume label = read_label(folder_ / "data" / "labelsTr" / "ball_4.nii.gz");
  label.voxels.zero_();
  write_volume(folder_ / "data" / "labelsTr" / "ball_4.nii.gz", label);
  std::ofstream(folder_ / "data" / "dataset.json") << dataset.dump();
  run("scored", testing::ball_config());  // label 2: not there, and perhaps found
  EXPECT_GE(best_of(folder_ / "scored").provenance["validation_dice"].get<double>(), 0);

  Json config = testing::ball_config();
  config["validation"]["fraction"] = 0;
  testing::write_ball_dataset(folder_ / "data", 5);
  const TrainSummary summary = run("off", config);
  EXPECT_EQ(summary.best_dice, -1);
  EXPECT_EQ(best_of(folder_ / "off").provenance["epoch"], 4);
  EXPECT_TRUE(best_of(folder_ / "off").provenance["validation_dice"].is_null());
}

TEST_F(TrainerTest, WhatIsNamedBestIsThereAfterEveryStop) {
  Json config = testing::ball_config();
  for (const double fraction : {0.0, 0.2}) {
    config["validation"] = {{"every_epochs", 1000}, {"fraction", fraction}};
    const std::string name = "run-" + std::to_string(fraction);
    testing::send_signal(SIGTERM);
    EXPECT_THROW(run(name, config), Interrupted);
    testing::forget_signals();
    EXPECT_TRUE(fs::exists(folder_ / name / "best.safetensors"));
    fs::remove(folder_ / name / "best.safetensors");
    EXPECT_TRUE(fs::exists(run(name, config, true).best));
    fs::remove(folder_ / name / "best.safetensors");
    const TrainSummary again = run(name, config, true);  // nothing is left to train
    EXPECT_TRUE(fs::exists(again.best));
    EXPECT_EQ(again.best_dice, -1) << "the best one is lost, the latest stands in for it";
    EXPECT_EQ(run(name, config, true).best_dice, -1);
  }
}

TEST_F(TrainerTest, TheModelSaysWhatItWasTrainedOn) {
  Json config = testing::ball_config();
  config["augment"] = {{"flip", {{"probability", 0.5}, {"axes", {"x", "z"}}}}};
  run("run", config);
  for (const char* file : {"run/best.safetensors", "run/last.safetensors"}) {
    const Json model = Json::parse(read_safetensors_metadata(folder_ / file).at("config"));
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
            Json::parse(read_safetensors_metadata(folder_ / "run" / "last.safetensors")
                            .at("config"))["intensities"]);
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
