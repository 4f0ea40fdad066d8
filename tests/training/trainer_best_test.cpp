// What best.safetensors is where held-out cases say little or nothing, and after every stop.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/types.h>

#include <cmath>
#include <csignal>
#include <filesystem>
#include <fstream>

#include "lamp/base/csv.h"
#include "lamp/base/safetensors.h"
#include "training/trainer_fixture.h"

namespace lamp {
namespace {

using testing::TrainerTest;
namespace fs = std::filesystem;

class TrainerBestTest : public TrainerTest {};

// The provenance that best.safetensors carries, and the row of metrics.csv of that epoch.
struct BestOfRun {
  Json provenance;
  std::vector<double> dice_means;  // by row; NaN where the cell is empty
};

BestOfRun best_of(const fs::path& run) {
  const auto metadata = read_safetensors(run / "best.safetensors").metadata;
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
TEST_F(TrainerBestTest, HeldOutCasesWithoutForegroundAreScoredByWhatIsFoundInThem) {
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

TEST_F(TrainerBestTest, WithoutAnnotatedHeldOutCasesTheBestIsTheLatest) {
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

TEST_F(TrainerBestTest, WhatIsNamedBestIsThereAfterEveryStop) {
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

}  // namespace
}  // namespace lamp
