// Which network best.safetensors holds, epoch by epoch.
#include "lamp/training/best_model.h"

#include <gtest/gtest.h>
#include <torch/types.h>

#include <cmath>
#include <fstream>

#include "lamp/base/log.h"
#include "lamp/nets/net_factory.h"
#include "support/temporary_folder.h"

namespace lamp {
namespace {

class BestModelTest : public ::testing::Test {
 protected:
  BestModelTest() { set_log_level(LogLevel::kError); }
  ~BestModelTest() override { set_log_level(LogLevel::kInfo); }

  static Model model() {
    return {.network = make_network({.width = 2, .depth = 1, .classes = 2}),
            .labels = {{0, "background"}, {1, "liver"}}};
  }
  // NaN = neither reference nor prediction holds the label.
  static Validation score(double dice, std::int64_t false_positives = 0) {
    return {.dice = {dice}, .false_positives = false_positives, .scored = true};
  }
  Json held() const { return load_model(file_).provenance; }
  std::int64_t epoch() const { return held()["epoch"].get<std::int64_t>(); }

  testing::TemporaryFolder folder_;
  const std::filesystem::path file_ = folder_ / "best.safetensors";
};

TEST_F(BestModelTest, HigherDiceIsBetterThenFewerFalsePositivesThenTheLater) {
  BestModel best(folder_.path(), -1, 0);
  const struct {
    Validation found;
    std::int64_t held;
  } epochs[] = {{score(0, 500), 1},  {score(0, 501), 1},       {score(0, 499), 3},
                {score(0, 499), 4},  {score(0.25, 900), 5},    {score(0.2, 0), 5},
                {score(0.25, 3), 7}, {score(std::nan("")), 8}, {score(0.99), 8},
                {score(1, 0), 10}};
  std::int64_t epoch_number = 0;
  for (const auto& [found, expected] : epochs) {
    best.offer(found, model(), ++epoch_number);
    EXPECT_EQ(epoch(), expected) << "after epoch " << epoch_number;
    EXPECT_EQ(held()["validation_dice"].get<double>(), best.dice());
  }
}

TEST_F(BestModelTest, IsTheLatestWhileNothingCanBeScored) {
  BestModel best(folder_.path(), -1, 0);
  const Validation nothing{.dice = {std::nan("")}, .scored = false};
  for (std::int64_t i = 1; i <= 3; ++i) {
    best.offer(nothing, model(), i);
    best.keep_latest(model(), i);
    EXPECT_EQ(epoch(), i);
  }
  EXPECT_EQ(best.dice(), -1);
  best.offer(score(0), model(), 4);
  best.keep_latest(model(), 5);
  EXPECT_EQ(epoch(), 4) << "a scored one stays";
}

TEST_F(BestModelTest, AResumeKnowsWhatTheFileHolds) {
  BestModel(folder_.path(), -1, 0).offer(score(0, 40), model(), 2);
  BestModel same(folder_.path(), 0, 2);
  EXPECT_EQ(same.dice(), 0);
  same.offer(score(0, 41), model(), 3);
  EXPECT_EQ(epoch(), 2) << "the count of false positives is remembered";
  same.offer(score(0, 39), model(), 4);
  EXPECT_EQ(epoch(), 4);
}

TEST_F(BestModelTest, AResumeStartsAnewWhereTheFileIsAnother) {
  EXPECT_EQ(BestModel(folder_.path(), 0.8, 9).dice(), -1) << "lost";
  std::ofstream(file_) << "damaged";
  EXPECT_EQ(BestModel(folder_.path(), 0.8, 9).dice(), -1);
  BestModel(folder_.path(), -1, 0).keep_latest(model(), 9);
  EXPECT_EQ(BestModel(folder_.path(), 0.8, 9).dice(), -1) << "in place of a lost one";
  BestModel(folder_.path(), -1, 0).offer(score(0.8), model(), 12);
  EXPECT_EQ(BestModel(folder_.path(), 0.8, 9).dice(), -1) << "from after the saved state";
  EXPECT_EQ(BestModel(folder_.path(), 0.8, 12).dice(), 0.8);
  EXPECT_EQ(BestModel(folder_.path(), -1, 12).dice(), -1);
  save_model(file_, model());  // as earlier versions wrote it
  EXPECT_EQ(BestModel(folder_.path(), 0.8, 9).dice(), 0.8);
}

TEST_F(BestModelTest, ABitThatHasChangedInTheWeightsIsNoticed) {
  BestModel(folder_.path(), -1, 0).offer(score(0.8), model(), 1);
  ASSERT_EQ(BestModel(folder_.path(), 0.8, 1).dice(), 0.8);
  std::fstream file(file_, std::ios::in | std::ios::out | std::ios::binary);
  file.seekg(-10, std::ios::end);
  const int byte = file.get();
  file.seekp(-10, std::ios::end);
  file.put(static_cast<char>(byte ^ 1));
  file.close();
  BestModel best(folder_.path(), 0.8, 1);
  EXPECT_EQ(best.dice(), -1);
  best.keep_latest(model(), 2);
  EXPECT_EQ(epoch(), 2);
}

TEST_F(BestModelTest, AFileThatWasLostComesBack) {
  BestModel best(folder_.path(), -1, 0);
  best.offer(score(0.8), model(), 1);
  std::filesystem::remove(file_);
  best.keep_latest(model(), 2);
  EXPECT_EQ(epoch(), 2);
  EXPECT_EQ(best.dice(), -1);
}

}  // namespace
}  // namespace lamp
