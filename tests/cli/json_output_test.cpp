// What scripts read from the program: the JSON on stdout has the fields of docs/commands.md.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <string>

#include "lamp/base/json.h"
#include "support/ball_dataset.h"
#include "support/run_program.h"

namespace lamp::testing {
namespace {

using ::testing::HasSubstr;
namespace fs = std::filesystem;

TEST(JsonOutputTest, CheckOfASoundDataSetSaysSo) {
  const TemporaryFolder folder;
  write_ball_dataset(folder / "data", 2);
  const ProgramResult result = run_lamp("check --json " + quoted(folder / "data"));
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const Json json = parse_json(result.out, "stdout");
  EXPECT_EQ(json["ok"], true);
  EXPECT_TRUE(json["faults"].empty());
  EXPECT_TRUE(json.contains("cases"));
  EXPECT_TRUE(json.contains("labels"));
}

TEST(JsonOutputTest, CheckNamesEveryFaultInOnePass) {
  const TemporaryFolder folder;
  write_ball_dataset(folder / "data", 3);
  fs::remove(folder / "data" / "labelsTr" / "ball_0.nii.gz");
  fs::resize_file(folder / "data" / "imagesTr" / "ball_1.nii.gz", 100);
  const ProgramResult result = run_lamp("check --json " + quoted(folder / "data"));
  EXPECT_EQ(result.exit_code, 3) << result.err;
  const Json json = parse_json(result.out, "stdout");
  EXPECT_EQ(json["ok"], false);
  ASSERT_GE(json["faults"].size(), 2U);
  for (const Json& fault : json["faults"])
    for (const char* field : {"file", "what", "found", "expected", "fix"})
      EXPECT_TRUE(fault.contains(field)) << fault.dump();
  EXPECT_THAT(json["faults"].dump(), HasSubstr("ball_0.nii.gz"));
  EXPECT_THAT(json["faults"].dump(), HasSubstr("ball_1.nii.gz"));
}

TEST(JsonOutputTest, EvaluateOfTheReferenceItselfIsPerfect) {
  const TemporaryFolder folder;
  write_ball_dataset(folder / "data", 2);
  const std::string labels = quoted(folder / "data" / "labelsTr");
  const ProgramResult result = run_lamp("evaluate --json -p " + labels + " -r " + labels + " -o " +
                                        quoted(folder / "summary.json"));
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const Json json = parse_json(result.out, "stdout");
  ASSERT_EQ(json["metric_per_case"].size(), 2U);
  const Json& metrics = json["metric_per_case"][0]["metrics"]["1"];
  EXPECT_EQ(metrics["Dice"], 1.0);
  EXPECT_EQ(metrics["HD95"], 0.0);
  for (const char* field : {"IoU", "TP", "FP", "FN", "TN", "n_pred", "n_ref", "NSD_2mm", "ASSD"})
    EXPECT_TRUE(metrics.contains(field)) << field;
  EXPECT_TRUE(json.contains("mean"));
  EXPECT_EQ(json["foreground_mean"]["Dice"], 1.0);
  EXPECT_TRUE(fs::exists(folder / "summary.json"));
  EXPECT_TRUE(fs::exists(folder / "metrics.csv"));
}

TEST(JsonOutputTest, EvaluateGoesOnWithoutAMissingPredictionAndExitsWithFour) {
  const TemporaryFolder folder;
  write_ball_dataset(folder / "data", 2);
  fs::copy(folder / "data" / "labelsTr", folder / "predicted");
  fs::remove(folder / "predicted" / "ball_1.nii.gz");
  const ProgramResult result =
      run_lamp("evaluate --json -p " + quoted(folder / "predicted") + " -r " +
               quoted(folder / "data" / "labelsTr") + " -o " + quoted(folder / "summary.json"));
  EXPECT_EQ(result.exit_code, 4) << result.err;
  EXPECT_THAT(result.err, HasSubstr("ball_1"));
  EXPECT_EQ(parse_json(result.out, "stdout")["metric_per_case"].size(), 1U);
}

TEST(JsonOutputTest, BenchInputTellsRatesAndWhetherTheDeviceWaits) {
  const TemporaryFolder folder;
  write_ball_dataset(folder / "data", 3);
  std::ofstream(folder / "config.json") << ball_config();
  const std::string input =
      "bench input -d " + quoted(folder / "data") + " -c " + quoted(folder / "config.json");
  const auto start = std::chrono::steady_clock::now();
  const ProgramResult result =
      run_lamp("--json " + input + " --rounds 2 --set loader.cache=" + quoted(folder / "cache"));
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const Json json = parse_json(result.out, "stdout");
  const auto number = [&](const char* pointer) {
    return json.at(Json::json_pointer(pointer)).get<double>();
  };
  EXPECT_EQ(json["cold"]["prepared"], json["cases"]);
  EXPECT_EQ(json["warm"]["prepared"], 0);
  EXPECT_DOUBLE_EQ(number("/volumes_per_second"), number("/cases") / number("/cold/seconds"));
  ASSERT_EQ(json["rounds"].size(), 2U);
  EXPECT_DOUBLE_EQ(number("/patches_per_second"), (number("/rounds/0") + number("/rounds/1")) / 2);
  const double busy = number("/device/busy_seconds"), waited = number("/device/wait_seconds");
  EXPECT_GE(busy, 0.999 * number("/device/steps") * number("/device/step_seconds"));
  EXPECT_DOUBLE_EQ(number("/device/wait_share"), waited / (waited + busy));
  EXPECT_LT(number("/cold/seconds") + number("/warm/seconds") + busy + waited, took.count());
  EXPECT_EQ(run_lamp(input + " --stage 3").exit_code, 2);
  EXPECT_EQ(run_lamp("bench input -c demo -d " + quoted(folder / "none")).exit_code, 3);
}

TEST(JsonOutputTest, InfoCountsTheParametersOfANetworkThatIsNotThereYet) {
  const auto count = [](const std::string& width) {
    const ProgramResult result = run_lamp("info --json --net unet --width " + width);
    EXPECT_EQ(result.exit_code, 0) << result.err;
    const Json json = parse_json(result.out, "stdout");
    EXPECT_EQ(json["net"]["name"], "unet");
    EXPECT_EQ(std::to_string(json["net"]["width"].get<int>()), width);
    return json["parameters"].get<std::int64_t>();
  };
  EXPECT_GT(count("16"), 3 * count("8"));  // convolutions grow with the square of the width
}

}  // namespace
}  // namespace lamp::testing
