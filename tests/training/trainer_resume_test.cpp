// Runs that were stopped, finished or begun otherwise, and go on.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/types.h>

#include <csignal>
#include <fstream>

#include "lamp/base/safetensors.h"
#include "lamp/training/run_state.h"
#include "training/trainer_fixture.h"

namespace lamp {
namespace {

using ::testing::HasSubstr;
using testing::TrainerTest;

class TrainerResumeTest : public TrainerTest {};

// Stops after every single step, goes on with --resume, and must end with the bytes of the run that
// never stopped.
TEST_F(TrainerResumeTest, ARunStoppedAfterEveryStepEndsBitIdentical) {
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
        ASSERT_LT(stops, 100) << stop.what();
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

TEST_F(TrainerResumeTest, MetricsRowsPastTheSavedStateAreDroppedAtAResume) {
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

TEST_F(TrainerResumeTest, AResumedRunKeepsTheLayoutItBeganWith) {
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

TEST_F(TrainerResumeTest, RefusesToTrainOverARunUnlessAskedToResume) {
  const Json config = testing::ball_config();
  run("run", config);
  EXPECT_THAT(message_of("run", config), HasSubstr("go on with resume"));
}

TEST_F(TrainerResumeTest, RefusesToResumeWithAnotherNetworkOrDataSet) {
  Json config = testing::ball_config();
  run("run", config);
  Json wider = config;
  wider["net"]["width"] = 8;
  EXPECT_THAT(message_of("run", wider, true), HasSubstr("\"net.width\" was 4, now 8"));
  testing::write_ball_dataset(folder_ / "data", 6);
  EXPECT_THAT(message_of("run", config, true), HasSubstr("data set has changed"));
}

TEST_F(TrainerResumeTest, AFinishedRunMayBeResumedAndExtended) {
  Json config = testing::ball_config();
  run("run", config);
  EXPECT_EQ(run("run", config, true).epochs, 4);
  config["curriculum"].push_back({{"patch", "whole"}, {"epochs", 1}});
  EXPECT_EQ(run("run", config, true).epochs, 5);
  config["curriculum"][2]["epochs"] = 3;
  EXPECT_EQ(run("run", config, true).epochs, 7);
}

}  // namespace
}  // namespace lamp
