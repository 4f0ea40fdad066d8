// Trainings of the balls (support/ball_dataset.h) on the CPU, for tests that compare runs.
#pragma once

#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include <string>

#include "lamp/base/files.h"
#include "lamp/base/log.h"
#include "lamp/training/trainer.h"
#include "support/ball_dataset.h"
#include "support/signals.h"
#include "support/temporary_folder.h"

namespace lamp::testing {

class BallTraining : public ::testing::Test {
 protected:
  explicit BallTraining(int threads) {
    set_log_level(LogLevel::kWarning);
    forget_signals();
    at::set_num_threads(threads);
    write_ball_dataset(folder_ / "data", 5);
  }
  ~BallTraining() override {
    forget_signals();
    close_log_file();
  }
  void run(const std::string& name, const Json& json, bool resume = false) {
    train({.dataset = folder_ / "data", .config = json, .run = folder_ / name, .resume = resume});
  }
  std::string weights(const std::string& name) {
    return read_file(folder_ / (name + "/last.safetensors"));
  }
  TemporaryFolder folder_;
};

}  // namespace lamp::testing
