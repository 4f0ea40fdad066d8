// What the tests of train() share: a data set of balls, and runs in a folder beside it.
#pragma once

#include <gtest/gtest.h>

#include <string>

#include "lamp/base/errors.h"
#include "lamp/base/files.h"
#include "lamp/base/log.h"
#include "lamp/training/trainer.h"
#include "support/ball_dataset.h"
#include "support/signals.h"
#include "support/temporary_folder.h"

namespace lamp::testing {

class TrainerTest : public ::testing::Test {
 protected:
  TrainerTest() {
    set_log_level(LogLevel::kWarning);
    forget_signals();
    write_ball_dataset(folder_ / "data", 5);
  }
  ~TrainerTest() override {
    forget_signals();
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

  TemporaryFolder folder_;
};

}  // namespace lamp::testing
