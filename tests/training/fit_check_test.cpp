// What cannot fit is refused before it begins, what fits is not. Expected values: peaks that the
// counting allocator measured, and advice that is taken at its word.
#include "lamp/training/fit_check.h"

#include <ATen/Parallel.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/types.h>

#include <chrono>
#include <filesystem>
#include <regex>

#include "lamp/base/errors.h"
#include "lamp/base/log.h"
#include "lamp/base/memory_counter.h"
#include "lamp/nets/net_factory.h"
#include "lamp/training/trainer.h"
#include "support/ball_dataset.h"
#include "support/temporary_folder.h"

namespace lamp::testing {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr std::int64_t kGiB = std::int64_t{1} << 30;

class FitCheckTest : public ::testing::Test {
 protected:
  FitCheckTest() {
    set_log_level(LogLevel::kError);
    at::set_num_threads(1);
  }
  // "" where it fits.
  std::string refusal(const TrainConfig& config) const {
    try {
      check_fits(config, dataset_);
      return "";
    } catch (const DoesNotFit& error) {
      return error.what();
    }
  }
  static TrainConfig config_of(const std::string& curriculum, std::int64_t memory) {
    Json json = ball_config();
    json["net"] = {{"name", "unet"}, {"width", 32}, {"depth", 4}};
    json["curriculum"] = parse_json(curriculum, "test");
    json["validation"] = {{"fraction", 0}};
    json["execution"]["memory"] = memory;
    TrainConfig config = parse_train_config(json);
    config.net.classes = 5;
    return config;
  }

  TemporaryFolder folder_;
  Dataset dataset_ = read_dataset(write_ball_dataset(folder_ / "data", 4));
};

TEST_F(FitCheckTest, ABatchThatFilledTheMachineIsRefusedInSeconds) {
  const auto start = std::chrono::steady_clock::now();
  const std::string text =
      refusal(config_of(R"([{"patch": [128, 128, 96], "batch": 64, "epochs": 1}])", 23 * kGiB));
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(20));
  EXPECT_THAT(text, AllOf(HasSubstr("curriculum stage 1 (128x128x96, batch 64)"),
                          HasSubstr("cpu has 23.0 GiB"), HasSubstr("curriculum.0.batch="),
                          HasSubstr("curriculum.0.patch=["), HasSubstr("execution.microbatches="),
                          HasSubstr("would fit")));
}

// What one device does not hold, two stages that share its memory do not either, unless
// micro-batches or computing again make it smaller; both are refused here.
TEST_F(FitCheckTest, StagesOfOneHostAreNoAdviceWhereNothingIsComputedAgain) {
  TrainConfig config = config_of(R"([{"patch": [48, 48, 48], "batch": 64, "epochs": 1}])", kGiB);
  config.execution.device = "cpu";
  config.execution.recompute = "never";
  config.execution.microbatches = 1;
  const auto of = [&](const char* devices) {
    TrainConfig other = config;
    other.execution.device = devices;
    return refusal(other);
  };
  ASSERT_THAT(of("cpu"), HasSubstr("does not fit"));
  const std::regex device("execution\\.device=([a-z,]*[a-z])");
  const std::string text = of("cpu");
  std::smatch advised;
  if (std::regex_search(text, advised, device)) {
    EXPECT_EQ(of(advised.str(1).c_str()), "") << text;
  }
  config.loss.dice = "batch";  // no micro-batches
  for (const char* devices : {"cpu,cpu", "cpu,cpu,cpu,cpu"})
    EXPECT_THAT(of(devices), HasSubstr("does not fit")) << devices;
}

TEST_F(FitCheckTest, WhatComesNearTheLimitIsToldWithNumbers) {
  TrainConfig config = config_of(R"([{"patch": [32, 32, 32], "batch": 4, "epochs": 1}])", kGiB);
  config.execution.device = "cpu";
  const auto warning_at = [&](std::int64_t bytes) {
    config.execution.memory_bytes = bytes;
    set_log_level(LogLevel::kWarning);
    ::testing::internal::CaptureStderr();
    const std::string fault = refusal(config);
    const std::string text = ::testing::internal::GetCapturedStderr();
    set_log_level(LogLevel::kError);
    return fault.empty() ? text : "refused";
  };
  std::int64_t refused = 0, fits = 16 * kGiB;  // the least that is not refused
  while (fits - refused > fits / 1000) {
    const std::int64_t middle = refused + (fits - refused) / 2;
    (warning_at(middle) == "refused" ? refused : fits) = middle;
  }
  EXPECT_THAT(warning_at(fits), AllOf(HasSubstr("curriculum stage 1 (32x32x32, batch 4) may not"),
                                      HasSubstr("cpu has ")));
  EXPECT_THAT(warning_at(fits * 100 / 86), HasSubstr("may not fit"));
  EXPECT_EQ(warning_at(fits * 100 / 84), "");
}

// One after the other, each advice is set as `--set` would set it: then it fits, and what lies
// between it and the wish was not offered without need.
TEST_F(FitCheckTest, EachAdviceFits) {
  const Json wish = [] {
    Json json = ball_config();
    json["net"] = {{"name", "unet"}, {"width", 16}, {"depth", 3}};
    json["curriculum"] = parse_json(R"([{"patch": [8, 8, 8], "batch": 2, "epochs": 1},
                                        {"patch": [96, 64, 64], "batch": 16, "epochs": 1}])",
                                    "test");
    json["validation"] = {{"fraction", 0}};
    json["execution"]["memory"] = "400MiB";
    return json;
  }();
  const std::string text = refusal(parse_train_config(wish));
  EXPECT_THAT(text, AllOf(Not(HasSubstr("stage 1")), HasSubstr("stage 2")));
  const std::regex setting(

      R"((curriculum\.1\.\w+|execution\.\w+)=(\[[0-9,]+\]|[a-z0-9,]*[a-z0-9])( with ([^ ,]+))?)");
  int settings = 0;
  for (std::sregex_iterator found(text.begin(), text.end(), setting), end; found != end; ++found) {
    Json json = wish;
    apply_settings(json, {found->str(1) + "=" + found->str(2)});
    if (found->length(4) > 0) apply_settings(json, {found->str(4)});
    EXPECT_EQ(refusal(parse_train_config(json)), "") << found->str();
    ++settings;
  }
  EXPECT_GE(settings, 3) << text;
}

TEST_F(FitCheckTest, EveryStageThatDoesNotFitIsNamed) {
  const std::string text =
      refusal(config_of(R"([{"patch": [64, 64, 64], "batch": 4096, "epochs": 1},
                            {"patch": [16, 16, 16], "batch": 2, "epochs": 1},
                            {"patch": [512, 512, 512], "batch": 2, "epochs": 1}])",
                        8 * kGiB));
  EXPECT_THAT(text, AllOf(HasSubstr("stage 1 (64x64x64, batch 4096)"), Not(HasSubstr("stage 2")),
                          HasSubstr("stage 3 (512x512x512, batch 2)")));
}

TEST_F(FitCheckTest, EqualStagesAreNamedOnceAndNotMoreThanAFewInAll) {
  const auto times = [&](int count, auto batch) {
    std::string curriculum;
    for (int i = 0; i < count; ++i)
      curriculum += std::string(i == 0 ? "[" : ", ") + R"({"patch": [64, 64, 64], "batch": )" +
                    std::to_string(batch(i)) + R"(, "epochs": 1})";
    TrainConfig config = config_of(curriculum + "]", kGiB);
    config.net.depth = 2;
    config.execution.recompute = "never";
    config.execution.microbatches = 1;
    return refusal(config);
  };
  const auto named = [](const std::string& text) {
    const std::regex stage("curriculum stage [0-9]+ ");
    return std::distance(std::sregex_iterator(text.begin(), text.end(), stage), {});
  };
  const std::string equal = times(100, [](int) { return 32; });
  EXPECT_EQ(named(equal), 1) << equal;
  EXPECT_THAT(equal, HasSubstr("curriculum stage 1 "));
  const std::string unequal = times(7, [](int i) { return 32 + i; });
  EXPECT_EQ(named(unequal), 5) << unequal;
  EXPECT_THAT(unequal, HasSubstr("; and 2 more"));
}

TEST_F(FitCheckTest, ABatchThatCannotBePutTogetherIsRefused) {
  // 2 x 1,000,000 samples of 16^3 voxels of 5 bytes are 38 GiB.
  const TrainConfig config = config_of(R"([{"patch": [16, 16, 16], "batch": 1000000, "epochs": 1},
                    {"patch": [16, 16, 16], "batch": 10, "epochs": 1}])",
                                       8 * kGiB);
  EXPECT_THROW(check_batch_fits(config, dataset_, {0, 1}, 0), DoesNotFit);
  EXPECT_NO_THROW(check_batch_fits(config, dataset_, {0, 1}, 1));
  EXPECT_THROW(check_stage_fits(config, dataset_, 0), DoesNotFit);
}

// The images have up to 21 x 20 x 22 voxels; at 0.1 mm that is 210 x 200 x 440.
TEST_F(FitCheckTest, WholeVolumesAreTheLargestImageOnTheNetworksGrid) {
  TrainConfig config = config_of(R"([{"patch": "whole", "batch": 2, "epochs": 1}])", kGiB);
  EXPECT_EQ(refusal(config), "");
  config.data.spacing_mm = std::array<double, 3>{0.1, 0.1, 0.1};
  EXPECT_THAT(refusal(config), HasSubstr("whole volumes up to 210x200x440, batch 2"));
}

TEST_F(FitCheckTest, AHeldOutCaseIsSegmentedWhole) {
  TrainConfig config = config_of(R"([{"patch": [16, 16, 16], "batch": 2, "epochs": 1}])", kGiB);
  config.data.spacing_mm = std::array<double, 3>{0.1, 0.1, 0.1};
  EXPECT_EQ(refusal(config), "");
  config.validation.fraction = 0.25;
  EXPECT_THAT(refusal(config), AllOf(HasSubstr("validation: the held-out case ball_"),
                                     HasSubstr("validation.fraction=0"), Not(HasSubstr("stage"))));
}

// The peak as counted while the step runs; the image of the bench is as large as a run's.
class MeasuredPeakTest : public ::testing::TestWithParam<std::tuple<std::string, std::string>> {};

TEST_P(MeasuredPeakTest, LiesBetweenWhatIsRefusedAndWhatIsNot) {
  set_log_level(LogLevel::kError);
  at::set_num_threads(1);
  const auto& [net, precision] = GetParam();
  // Kernels of a reduced precision are slow where the processor has none.
  const std::int64_t side = precision == "fp32" ? 48 : 32;
  BenchOptions options{.input = {side, side, side}, .batch = 4, .rounds = 1};
  options.net = parse_net_config({{"name", net}, {"classes", 5}});
  if (net != "anatomynet") options.net.width = 8;
  options.execution.device = "cpu";
  options.execution.precision = precision;
  const std::int64_t peak = measure_step(options).peak_bytes.at(0);
  options.execution.memory_bytes = peak + peak / 10;
  EXPECT_NO_THROW(check_step_fits(options));
  options.execution.memory_bytes = {};
  options.execution.precision = "fp32";
  // Without the workspaces that a processor may need for kernels of a reduced precision.
  const std::int64_t plain = precision == "fp32" ? peak : measure_step(options).peak_bytes.at(0);
  options.execution.precision = precision;
  options.execution.memory_bytes = precision == "fp32" ? peak - peak / 5 : plain / 4;
  EXPECT_THROW(check_step_fits(options), DoesNotFit);
}

INSTANTIATE_TEST_SUITE_P(Networks, MeasuredPeakTest,
                         ::testing::Combine(::testing::Values("unet", "seunet", "anatomynet"),
                                            ::testing::Values("fp32", "bf16")),
                         [](const auto& info) {
                           return std::get<0>(info.param) + "_" + std::get<1>(info.param);
                         });

TEST_F(FitCheckTest, TheBenchSpeaksOfItsOwnSettings) {
  BenchOptions options{.input = {512, 512, 512}, .batch = 64};
  options.execution.device = "cpu";
  options.execution.memory_bytes = 16 * kGiB;
  const auto words = [](const auto& check) -> std::string {
    try {
      check();
      return "";
    } catch (const DoesNotFit& error) {
      return error.what();
    }
  };
  EXPECT_THAT(words([&] { check_step_fits(options); }),
              AllOf(HasSubstr("input=512,512,512 batch=64"), HasSubstr("input="),
                    HasSubstr("would fit"), Not(HasSubstr("curriculum"))));
  options.execution.memory_bytes = 8 * kGiB;
  EXPECT_THAT(words([&] { check_segment_fits(options); }), HasSubstr("patch="));
  options.window = WindowOptions{.size = {96, 96, 96}};
  EXPECT_EQ(words([&] { check_segment_fits(options); }), "");
}

TEST_F(FitCheckTest, ARefusedRunLeavesNothingBehind) {
  Json config = ball_config();
  config["curriculum"] = parse_json(R"([{"patch": [12, 12, 12], "batch": 1000000000,
                                         "epochs": 1}])",
                                    "test");
  const std::filesystem::path run = folder_ / "run";
  EXPECT_THROW(train({.dataset = folder_ / "data", .config = config, .run = run}), DoesNotFit);
  EXPECT_FALSE(std::filesystem::exists(run));
}

TEST_F(FitCheckTest, ARunThatFitsIsNotRefused) {
  const auto summary =
      train({.dataset = folder_ / "data", .config = ball_config(), .run = folder_ / "run"});
  EXPECT_EQ(summary.epochs, 4);
}

TEST(DeviceMemoryTest, IsReadFromTheConfigurationAndKept) {
  EXPECT_EQ(parse_execution_config({{"memory", "16GiB"}}).memory_bytes, 16 * kGiB);
  EXPECT_EQ(parse_execution_config({{"memory", "auto"}}).memory_bytes, std::nullopt);
  EXPECT_FALSE(to_json(parse_execution_config({})).contains("memory"));
  const ExecutionConfig given = parse_execution_config({{"memory", "16GiB"}});
  EXPECT_EQ(parse_execution_config(to_json(given)).memory_bytes, 16 * kGiB);
  EXPECT_EQ(device_memory(given, c10::kCPU), 16 * kGiB);
  for (const Json& wrong : {Json("16"), Json("much"), Json(0), Json(-1), Json(1.5), Json(true)})
    EXPECT_THROW(parse_execution_config({{"memory", wrong}}), UsageError) << wrong;
}

}  // namespace
}  // namespace lamp::testing
