// What the tests of `lamp prepare` share: a scratch folder, options and how an error is met.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "lamp/base/errors.h"
#include "lamp/base/log.h"
#include "lamp/convert/prepare.h"
#include "support/signals.h"
#include "support/temporary_folder.h"

namespace lamp::testing {

class PrepareTest : public ::testing::Test {
 protected:
  void SetUp() override { set_log_level(LogLevel::kError); }
  void TearDown() override { forget_signals(); }

  PrepareOptions han(const std::string& out = "out") const {
    return {.from = "han-npy",
            .source = folder_ / "han",
            .folder = folder_ / out,
            .spacing_mm = std::array{0.98, 0.97, 2.5}};
  }
  PrepareOptions liver(const std::string& out = "out") const {
    return {.from = "decathlon", .source = folder_ / "liver", .folder = folder_ / out};
  }

  static void expect_usage_error(const PrepareOptions& options, const std::string& part) {
    try {
      prepare_dataset(options);
      ADD_FAILURE() << "went through, expected a refusal with \"" << part << '"';
    } catch (const UsageError& error) {
      EXPECT_THAT(error.what(), ::testing::HasSubstr(part));
    }
  }

  static std::vector<std::string> names(const std::vector<Case>& cases) {
    std::vector<std::string> names;
    for (const Case& entry : cases) names.push_back(entry.name);
    return names;
  }

  // Times of change of every file, the record included.
  static std::map<std::string, std::filesystem::file_time_type> times_under(
      const std::filesystem::path& folder) {
    std::map<std::string, std::filesystem::file_time_type> times;
    for (const auto& file : std::filesystem::recursive_directory_iterator(folder))
      if (file.is_regular_file()) times[file.path().string()] = file.last_write_time();
    return times;
  }

  TemporaryFolder temporary_;
  const std::filesystem::path folder_ = temporary_.path();
};

}  // namespace lamp::testing
