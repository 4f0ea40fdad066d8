// What "auto" comes to when a run begins, and that a run keeps it.
#include "lamp/training/auto_settings.h"

#include <ATen/Parallel.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/types.h>

#include "lamp/base/errors.h"
#include "lamp/base/log.h"
#include "lamp/base/size3.h"
#include "lamp/nets/precision.h"
#include "lamp/training/trainer.h"
#include "support/ball_dataset.h"
#include "support/temporary_folder.h"

namespace lamp::testing {
namespace {

class AutoSettingsTest : public ::testing::Test {
 protected:
  AutoSettingsTest() {
    set_log_level(LogLevel::kError);
    at::set_num_threads(1);
  }
  TemporaryFolder folder_;
  // Images of 21 x 20 x 20, 21 or 22 voxels, 2 mm apart along z.
  std::filesystem::path data_ = write_ball_dataset(folder_ / "data", 3);
};

Json auto_config() {
  Json config = ball_config();
  config["execution"]["precision"] = "auto";
  config["curriculum"] =
      parse_json(R"([{"patch": "auto", "batch": 1, "epochs": 1}])", "curriculum");
  return config;
}

TEST_F(AutoSettingsTest, TheMedianSizeIsThatOfTheNetworksGrid) {
  const Dataset dataset = read_dataset(data_);
  EXPECT_EQ(median_size(dataset, {}), (Size3{21, 20, 21}));
  EXPECT_EQ(median_size(dataset, {.spacing_mm = std::array<double, 3>{1, 1, 1}})[2], 42);
}

TEST_F(AutoSettingsTest, APatchReachesTheMedianSizeInMultiplesOfTheStride) {
  TrainConfig config = parse_train_config(auto_config());
  EXPECT_EQ(to_json(config)["curriculum"][0]["patch"], "auto");
  settle_auto(config, read_dataset(data_), Json());
  EXPECT_EQ(config.curriculum[0].patch, (Size3{20, 20, 20}));
  EXPECT_EQ(config.execution.precision, bf16_support(c10::kCPU).is_fast ? "bf16" : "fp32");
}

TEST_F(AutoSettingsTest, ARunThatGoesOnKeepsWhatItBeganWith) {
  TrainConfig config = parse_train_config(auto_config());
  Json earlier = to_json(config);
  earlier["execution"]["precision"] = "fp32";
  earlier["curriculum"][0]["patch"] = {12, 16, 8};
  settle_auto(config, read_dataset(data_), earlier);
  EXPECT_EQ(config.execution.precision, "fp32");
  EXPECT_EQ(config.curriculum[0].patch, (Size3{12, 16, 8}));
}

TEST_F(AutoSettingsTest, ANetworkThatFitsNowhereIsRefused) {
  Json json = auto_config();
  json["curriculum"][0]["batch"] = 100000000;
  TrainConfig config = parse_train_config(json);
  EXPECT_THROW(settle_auto(config, read_dataset(data_), Json()), DoesNotFit);
}

TEST_F(AutoSettingsTest, TheRunFolderHoldsWhatWasChosen) {
  const std::filesystem::path run = folder_ / "run";
  train({.dataset = data_, .config = auto_config(), .run = run});
  const Json config = read_json(run / "config.json");
  EXPECT_EQ(config["curriculum"][0]["patch"], Json({20, 20, 20}));
  EXPECT_NE(config["execution"]["precision"], "auto");
  // The same configuration again: a resumed run is the run that it was.
  train({.dataset = data_, .config = auto_config(), .run = run, .resume = true});
  EXPECT_EQ(read_json(run / "config.json"), config);
}

}  // namespace
}  // namespace lamp::testing
