// A resume with other settings, through the front door.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "lamp/base/errors.h"
#include "lamp/base/files.h"
#include "lamp/base/log.h"
#include "lamp/base/safetensors.h"
#include "lamp/training/trainer.h"
#include "support/ball_dataset.h"
#include "support/folder_contents.h"
#include "support/signals.h"
#include "support/temporary_folder.h"

namespace lamp {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
namespace fs = std::filesystem;

// Refused ones leave the folder as it is to the last byte.
class RefusedResumeTest : public ::testing::Test {
 protected:
  RefusedResumeTest() {
    set_log_level(LogLevel::kWarning);
    testing::forget_signals();
    testing::write_ball_dataset(folder_ / "data", 5);
    Json config = testing::ball_config();
    config["optimizer"] = {{"name", "adamw"}, {"lr", 0.005}};
    train({.dataset = folder_ / "data", .config = config, .run = run_});
    close_log_file();
  }
  ~RefusedResumeTest() override {
    testing::forget_signals();
    close_log_file();
  }

  std::string refused(TrainRequest request) {
    const auto before = testing::contents_of(run_);
    request.run = run_;
    request.resume = true;
    std::string message = "no error";
    try {
      train(request);
    } catch (const Error& error) {
      message = error.what();
    }
    close_log_file();
    EXPECT_EQ(testing::contents_of(run_), before) << message;
    return message;
  }
  std::string refused(const std::string& setting) {
    return refused(TrainRequest{.settings = {setting}});
  }

  testing::TemporaryFolder folder_;
  fs::path run_ = folder_ / "run";
};

TEST_F(RefusedResumeTest, SettingsThatARunKeeps) {
  EXPECT_THAT(refused("seed=3"), HasSubstr("\"seed\" was 0, now 3"));
  EXPECT_THAT(refused("loss.focal_weight=0.75"),
              HasSubstr("\"loss.focal_weight\" was 0.5, now 0.75"));
  EXPECT_THAT(refused("loss.name=cross_entropy"), HasSubstr("its \"loss."));
  EXPECT_THAT(refused("augment.preset=han"), HasSubstr("its \"augment."));
  EXPECT_THAT(refused("optimizer.lr=1e-6"), HasSubstr("finished"));
  EXPECT_THAT(refused("execution.partition=[1,2,3]"), HasSubstr("partition"));
  EXPECT_THAT(refused(R"(curriculum=[{"patch":"whole"}])"), HasSubstr("curriculum"));
  EXPECT_THAT(refused("no.such=1"), HasSubstr("unknown key"));
  EXPECT_THAT(refused("curriculum.7.epochs=3"), HasSubstr("no such place"));
  EXPECT_THAT(refused("validation.fold=1"), HasSubstr("validation.fold"));
  EXPECT_THAT(refused("net.width=8"), HasSubstr("\"net.width\" was 4, now 8"));
  Json other = testing::ball_config();
  EXPECT_THAT(refused(TrainRequest{.config = other}), HasSubstr("optimizer.name"));
  EXPECT_THAT(refused(TrainRequest{.dataset = folder_ / "nothing"}), HasSubstr("nothing"));
  // And the plain resume goes on as if nothing had been asked.
  EXPECT_EQ(train({.run = run_, .resume = true}).epochs, 4);
}

TEST_F(RefusedResumeTest, DataOfTheSameSizeButOtherBytes) {
  for (const char* name : {"imagesTr/ball_3.nii.gz", "labelsTr/ball_1.nii.gz"}) {
    const fs::path file = folder_ / "data" / name;
    const std::string bytes = read_file(file);
    const auto time = fs::last_write_time(file);
    std::string other = bytes;
    other[4] = static_cast<char>(other[4] + 1);  // gzip's time stamp: the voxels stay
    std::ofstream(file, std::ios::binary) << other;
    fs::last_write_time(file, time);  // as a copy that keeps times would
    EXPECT_THAT(refused(TrainRequest{}), AllOf(HasSubstr("data set has changed"), HasSubstr(name)));
    std::ofstream(file, std::ios::binary) << bytes;
  }
  EXPECT_EQ(train({.run = run_, .resume = true}).epochs, 4);
}

TEST_F(RefusedResumeTest, OtherDataIsKnownByTheStateWhereTheFingerprintIsLost) {
  const fs::path label = folder_ / "data" / "labelsTr" / "ball_1.nii.gz";
  const std::string bytes = read_file(label);
  fs::remove(run_ / "data_fingerprint.json");
  std::string other = bytes;
  other[4] = static_cast<char>(other[4] + 1);
  std::ofstream(label, std::ios::binary) << other;
  EXPECT_THAT(refused(TrainRequest{.dataset = folder_ / "data"}),
              AllOf(HasSubstr("data set has changed"), HasSubstr("state.safetensors")));
  std::ofstream(label, std::ios::binary) << bytes;
  EXPECT_EQ(train({.dataset = folder_ / "data", .run = run_, .resume = true}).epochs, 4);
  EXPECT_TRUE(fs::exists(run_ / "data_fingerprint.json"));
}

TEST_F(RefusedResumeTest, AFingerprintOfOtherDataDoesNotStandInForTheRunsOwn) {
  testing::write_ball_dataset(folder_ / "data", 6);
  train({.dataset = folder_ / "data", .config = testing::ball_config(), .run = folder_ / "other"});
  close_log_file();
  fs::copy_file(folder_ / "other" / "data_fingerprint.json", run_ / "data_fingerprint.json",
                fs::copy_options::overwrite_existing);
  EXPECT_THAT(refused(TrainRequest{}), HasSubstr("data set has changed"));
}

// As states were before they kept a digest.
TEST_F(RefusedResumeTest, NothingButTheFingerprintTellsTheDataOfAnOldState) {
  const fs::path state = run_ / "state" / "state.safetensors";
  SafeTensors content = read_safetensors(state);
  Json cursor = Json::parse(content.metadata.at("cursor"));
  EXPECT_EQ(cursor.erase("data") + cursor.erase("split"), 2U);
  content.metadata["cursor"] = cursor.dump();
  write_safetensors(state, content);
  const std::string fingerprint = read_file(run_ / "data_fingerprint.json");
  fs::remove(run_ / "data_fingerprint.json");
  EXPECT_THAT(refused(TrainRequest{.dataset = folder_ / "data"}),
              AllOf(HasSubstr("data_fingerprint.json"), HasSubstr("put a copy back")));
  std::ofstream(run_ / "data_fingerprint.json") << fingerprint;
  EXPECT_EQ(train({.run = run_, .resume = true}).epochs, 4);
}

TEST_F(RefusedResumeTest, ALostSplitIsMadeAgainAndNoOther) {
  const std::string split = read_file(run_ / "split.json");
  fs::remove(run_ / "split.json");
  EXPECT_EQ(train({.run = run_, .resume = true}).epochs, 4);
  close_log_file();
  EXPECT_EQ(read_file(run_ / "split.json"), split);
  EXPECT_THAT(read_file(run_ / "train.log"), HasSubstr("split.json is missing"));

  // The cases' own folds are in the list, not in the files that the fingerprint is of.
  Json list = read_json(folder_ / "data" / "dataset.json");
  const auto write_folds = [&](int first) {
    for (std::size_t i = 0; i < list["training"].size(); ++i)
      list["training"][i]["fold"] = (static_cast<int>(i) + first) % 2;
    std::ofstream(folder_ / "data" / "dataset.json") << list.dump();
  };
  write_folds(0);
  Json config = testing::ball_config();
  config["validation"]["fold"] = 1;
  run_ = folder_ / "folds";
  train({.dataset = folder_ / "data", .config = config, .run = run_});
  close_log_file();
  fs::remove(run_ / "split.json");
  write_folds(1);
  EXPECT_THAT(refused(TrainRequest{}), HasSubstr("held-out cases are others"));
}

TEST_F(RefusedResumeTest, AnUndisturbedFolderOfDataMayMove) {
  fs::rename(folder_ / "data", folder_ / "moved");
  EXPECT_THAT(refused(TrainRequest{}), HasSubstr("data"));
  EXPECT_EQ(train({.dataset = folder_ / "moved", .run = run_, .resume = true}).epochs, 4);
  EXPECT_EQ(train({.run = run_, .resume = true}).epochs, 4);  // and is found there from now on
}

TEST_F(RefusedResumeTest, FilesThatBelongToNoCaseAreNamed) {
  for (const char* name : {"b.nii.gz", "a.nii.gz"})
    fs::copy_file(folder_ / "data/imagesTr/ball_0.nii.gz", folder_ / "data/imagesTr" / name);
  fs::copy_file(folder_ / "data/labelsTr/ball_0.nii.gz", folder_ / "data/labelsTr/c.nii.gz");
  train({.run = run_, .resume = true});
  close_log_file();
  const std::string log = read_file(run_ / "train.log");
  EXPECT_THAT(log, HasSubstr("2 files in imagesTr belong to no case: a.nii.gz, b.nii.gz"));
  EXPECT_THAT(log, HasSubstr("1 file in labelsTr belongs to no case: c.nii.gz"));
}

TEST_F(RefusedResumeTest, ANewStageKeepsTheRunsOptimizer) {
  train(
      {.settings =
           {R"(curriculum=[{"patch":[12,12,12],"batch":3,"epochs":2},{"patch":"whole","epochs":2},{"patch":"whole","epochs":1}])"},
       .run = run_,
       .resume = true});
  const Json config = read_json(run_ / "config.json");
  ASSERT_EQ(config["curriculum"].size(), 3U);
  for (const Json& stage : config["curriculum"]) EXPECT_EQ(stage["optimizer"]["name"], "adamw");
  EXPECT_EQ(config["optimizer"]["name"], "adamw");
}

TEST_F(RefusedResumeTest, ALowerLearningRateIsUsedAndRecorded) {
  train({.settings = {"curriculum.1.epochs=4", "optimizer.lr=1e-6"}, .run = run_, .resume = true});
  std::ifstream in(run_ / "metrics.csv");
  std::vector<std::string> rates;
  for (std::string line; std::getline(in, line);) {
    std::istringstream cells(line);
    std::string cell;
    for (int i = 0; i < 4; ++i) std::getline(cells, cell, ',');
    rates.push_back(cell);
  }
  EXPECT_EQ(rates, (std::vector<std::string>{"learning_rate", "0.005", "0.005", "0.005", "0.005",
                                             "1e-06", "1e-06"}));
  EXPECT_THAT(read_file(run_ / "train.log"),
              HasSubstr("curriculum.1.optimizer.lr: 1e-06 instead of 0.005"));
  const Json config = read_json(run_ / "config.json");
  EXPECT_EQ(config["curriculum"][0]["optimizer"]["lr"], 0.005);
  EXPECT_EQ(config["curriculum"][1]["optimizer"]["lr"], 1e-6);
}

TEST_F(RefusedResumeTest, AFinishedRunsConfigurationIsNotRewritten) {
  const std::string before = read_file(run_ / "config.json");
  EXPECT_EQ(train({.settings = {"loader.threads=1", "execution.precision=bf16"},
                   .run = run_,
                   .resume = true})
                .epochs,
            4);
  EXPECT_EQ(read_file(run_ / "config.json"), before);
}

}  // namespace
}  // namespace lamp
