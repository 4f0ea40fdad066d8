// A folder for small phantoms.
#pragma once

#include <gtest/gtest.h>

#include <filesystem>
#include <string>

#include "lamp/base/log.h"
#include "lamp/phantoms/phantom.h"
#include "support/temporary_folder.h"

namespace lamp::testing {

class PhantomFixture : public ::testing::Test {
 protected:
  void SetUp() override { set_log_level(LogLevel::kWarning); }

  PhantomOptions options(const std::string& kind, const std::string& name = "a") const {
    return {.kind = kind,
            .folder = folder_ / name,
            .train = 2,
            .test = 1,
            .size = {48, 48, 40},
            .seed = 5};
  }

  const TemporaryFolder temporary_;
  const std::filesystem::path folder_ = temporary_.path();
};

}  // namespace lamp::testing
