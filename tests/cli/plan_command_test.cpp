// `lamp plan` as users and scripts meet it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <functional>
#include <limits>
#include <map>
#include <numeric>
#include <set>
#include <string>
#include <vector>

#include "lamp/base/json.h"
#include "support/ball_dataset.h"
#include "support/run_program.h"

namespace lamp::testing {
namespace {

using ::testing::HasSubstr;

constexpr const char* kAbsent =
    "--net unet --width 16 --input 128,128,128 --batch 8 --devices 4 --device-memory 16GiB "
    "--flops 10T --bandwidth 50GB/s ";

Json plan_json(const std::string& arguments, int exit_code = 0) {
  const ProgramResult result = run_lamp("--json plan " + arguments);
  EXPECT_EQ(result.exit_code, exit_code) << result.err;
  return parse_json(result.out, "stdout");
}

TEST(PlanCommandTest, PrintsTheDocumentedFields) {
  const Json json = plan_json(kAbsent);
  for (const char* field : {"layers", "stages", "schedule", "microbatches", "recompute", "step_s",
                            "bubble", "utilisation", "fits", "reasons"})
    EXPECT_TRUE(json.contains(field)) << field;
  for (const char* field :
       {"name", "forward_s", "backward_s", "recompute_s", "parameter_bytes", "gradient_bytes",
        "optimizer_bytes", "activation_bytes", "output_bytes", "workspace_bytes"})
    EXPECT_TRUE(json["layers"][0].contains(field)) << field;
  for (const char* field : {"name", "from", "to", "bytes"})
    EXPECT_TRUE(json["skips"][0].contains(field)) << field;
  EXPECT_EQ(json["fits"], true);
  EXPECT_EQ(json["recompute"].size(), json["stages"].size());
  std::size_t next = 0;
  for (const Json& stage : json["stages"]) {
    EXPECT_EQ(stage["first"], next);
    next = stage["last"].get<std::size_t>() + 1;
    EXPECT_LE(stage["peak_bytes"], std::int64_t{16} << 30);
    EXPECT_LE(stage["step_s"], json["step_s"]);
  }
  EXPECT_EQ(next, json["layers"].size());
}

TEST(PlanCommandTest, PrintsATableAndReasonsForPeople) {
  const ProgramResult result = run_lamp(std::string("plan ") + kAbsent);
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(result.out, HasSubstr("stage"));
  EXPECT_THAT(result.out, HasSubstr("decoder_4_out"));
  EXPECT_THAT(result.out, HasSubstr("one would take"));
}

// The least that the heaviest of so many runs of neighbours can weigh.
double least_heaviest(const std::vector<double>& weights, std::size_t runs) {
  std::vector<double> best(weights.size() + 1, std::numeric_limits<double>::infinity());
  best[0] = 0;
  for (; runs > 0; --runs) {
    for (std::size_t end = weights.size(); end > 0; --end) {
      best[end] = std::numeric_limits<double>::infinity();
      double sum = 0;
      for (std::size_t begin = end; begin-- > 0;)
        best[end] = std::min(best[end], std::max(best[begin], sum += weights[begin]));
    }
    best[0] = std::numeric_limits<double>::infinity();
  }
  return best.back();
}

TEST(PlanCommandTest, CutsAsOthersDoWhenAsked) {
  const std::map<std::string, std::function<double(const Json&)>> weights = {
      {"time",
       [](const Json& l) { return l["forward_s"].get<double>() + l["backward_s"].get<double>(); }},
      {"layers", [](const Json&) { return 1.0; }},
      {"parameters", [](const Json& l) { return l["parameter_bytes"].get<double>(); }},
      {"activations", [](const Json& l) { return l["output_bytes"].get<double>(); }}};
  std::set<Json> cuts;
  for (const auto& [way, weight] : weights) {
    const Json json =
        plan_json(std::string(kAbsent) + "--schedule gpipe --microbatches 4 --partition " + way);
    std::vector<double> of_layers;
    for (const Json& layer : json["layers"]) of_layers.push_back(weight(layer));
    double heaviest = 0;
    for (const Json& stage : json["stages"])
      heaviest = std::max(heaviest,
                          std::accumulate(of_layers.begin() + stage["first"].get<int>(),
                                          of_layers.begin() + stage["last"].get<int>() + 1, 0.0));
    const double least = least_heaviest(of_layers, json["stages"].size());
    EXPECT_NEAR(heaviest, least, 1e-9 * least) << way;
    EXPECT_GT(json["stages"].size(), 1U) << way;
    cuts.insert(json["partition"]);
  }
  EXPECT_GT(cuts.size(), 2U) << "each way cuts in its own places";
}

TEST(PlanCommandTest, MoreMicroBatchesThanANumberHoldsAreAsManyAsSamples) {
  const Json json = plan_json(std::string(kAbsent) + "--microbatches 4294967297");
  EXPECT_EQ(json["microbatches"], 8);
  EXPECT_THAT(json["reasons"].dump(), HasSubstr("no more samples than that"));
}

TEST(PlanCommandTest, PrintsEveryLayerWhenAsked) {
  const ProgramResult result = run_lamp(std::string("plan --layers ") + kAbsent);
  EXPECT_EQ(result.exit_code, 0) << result.err;
  const std::string head = result.out.substr(0, result.out.find('\n'));
  EXPECT_THAT(head, HasSubstr("workspace"));
  EXPECT_THAT(result.out, HasSubstr("\nencoder_0_Conv_conv "));
  EXPECT_THAT(result.out, HasSubstr("\nskip "));
}

TEST(PlanCommandTest, HonoursWhatIsFixed) {
  const Json json = plan_json(std::string(kAbsent) +
                              "--schedule gpipe --microbatches 2 --recompute always "
                              "--partition [20,14,10]");
  EXPECT_EQ(json["schedule"], "gpipe");
  EXPECT_EQ(json["microbatches"], 2);
  EXPECT_EQ(json["recompute"], Json({"always", "always", "always"}));
  EXPECT_EQ(json["stages"][1]["first"], 20);
}

TEST(PlanCommandTest, WhatDoesNotFitExitsWithFiveAndSaysWhatWould) {
  const std::string arguments =
      "--net unet --width 32 --input 256,256,256 --devices 1 --device-memory 4GiB";
  EXPECT_EQ(plan_json(arguments, 5)["fits"], false);
  const ProgramResult result = run_lamp("plan " + arguments);
  EXPECT_EQ(result.exit_code, 5);
  EXPECT_THAT(result.err, HasSubstr("nothing fits"));
  EXPECT_THAT(result.err, HasSubstr("would fit"));
}

TEST(PlanCommandTest, WritesPlanAndPictures) {
  const TemporaryFolder folder;
  const std::string plan = (folder / "plan.json").string(), svg = (folder / "a.svg").string(),
                    trace = (folder / "a.json").string();
  const ProgramResult result = run_lamp(std::string("plan ") + kAbsent + "-o '" + plan +
                                        "' --svg '" + svg + "' --trace '" + trace + "'");
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_EQ(parse_json(text_of(plan), plan)["fits"], true);
  EXPECT_THAT(text_of(svg), HasSubstr("</svg>"));
  EXPECT_NO_THROW(parse_json(text_of(trace), trace));
}

// Stages in turn: where they overlap on one device, the peak depends on the moment.
TEST(PlanCommandTest, MeasuresThePlanBesideThePrediction) {
  const Json json = plan_json(
      "--net unet --width 4 --depth 2 --input 32,32,32 --batch 2 --device cpu,cpu "
      "--microbatches 2 --schedule naive --measure --rounds 1");
  EXPECT_EQ(json["stages"].size(), 2U);
  ASSERT_TRUE(json.contains("measured"));
  EXPECT_GT(json["measured"]["step_s"], 0);
  const double predicted = json["devices"][0]["peak_bytes"];
  EXPECT_NEAR(predicted / json["measured"]["peak_bytes"][0].get<double>(), 1, 0.01);
  EXPECT_GT(json["measured"]["predicted_s"], 0);
  EXPECT_EQ(json["measured"]["predicted_seconds"],
            Json::array({json["measured"]["predicted_s"]}));  // of one round
}

TEST(PlanCommandTest, DrawsPredictedAboveMeasured) {
  const TemporaryFolder folder;
  const std::string svg = (folder / "a.svg").string(), trace = (folder / "a.json").string();
  const ProgramResult result = run_lamp(
      "plan --net unet --width 4 --depth 2 --input 32,32,32 --batch 2 --device cpu,cpu "
      "--microbatches 2 --schedule 1f1b --measure --rounds 1 --svg '" +
      svg + "' --trace '" + trace + "'");
  EXPECT_EQ(result.exit_code, 0) << result.err;
  const std::string drawn = text_of(svg);
  ASSERT_THAT(drawn, HasSubstr(">predicted: "));
  EXPECT_LT(drawn.find(">predicted: "), drawn.find(">measured: "));
  std::vector<int> bars(4, 0);  // by process: predicted stages, links, measured stages, links
  const Json traced = parse_json(text_of(trace), trace);
  for (const Json& event : traced["traceEvents"])
    if (event["ph"] == "X") ++bars.at(event["pid"].get<std::size_t>());
  EXPECT_EQ(bars, (std::vector{8, 0, 8, 0}));  // two stages, two micro-batches there and back
}

TEST(PlanCommandTest, ChoosesPrecisionAndInputWhenAsked) {
  const Json json = plan_json(
      "--net unet --width 4 --depth 2 --max-input 40,33,30 --batch 2 --device cpu "
      "--precision auto");
  EXPECT_EQ(json["input"], Json({40, 32, 24}));
  EXPECT_TRUE(json["precision"] == "fp32" || json["precision"] == "bf16");
  EXPECT_THAT(json["reasons"].dump(),
              HasSubstr("precision " + json["precision"].get<std::string>()));
}

// Whole batches of 8 of this size cannot be measured in so little memory, nor trained.
TEST(PlanCommandTest, WhatCannotBeMeasuredIsWorkedOutAndDoesNotEndThePlan) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "sanitizers need the address space";
#endif
  const std::string network = "--net unet --width 32 --depth 2 --input 128,128,128 --batch 8 ";
  const ProgramResult result = run_lamp("plan " + network + "--device cpu", "ulimit -v 1500000;");
  EXPECT_EQ(result.exit_code, 5) << result.err;
  EXPECT_THAT(result.err, HasSubstr("nothing fits: 1 device with"));
  EXPECT_THAT(result.err, HasSubstr("--input"));
  const ProgramResult step = run_lamp("bench step " + network, "ulimit -v 1500000;");
  EXPECT_EQ(step.exit_code, 5) << step.err;
  EXPECT_THAT(step.err, HasSubstr("lamp plan says what fits"));
}

TEST(PlanCommandTest, TakesNetworkAndInputFromAConfiguration) {
  const Json json = plan_json("-c demo --input 64,64,48 --devices 2 --device-memory 8GiB");
  EXPECT_EQ(json["layers"].back()["name"], "decoder_3_out");
}

std::string curriculum_file(const TemporaryFolder& folder, const std::string& curriculum) {
  const auto file = folder / "config.json";
  std::ofstream(file) << R"({"net": {"name": "unet", "width": 4, "depth": 2}, "curriculum": )"
                      << curriculum << R"(, "validation": {"fraction": 0.25}})";
  return "-c '" + file.string() + "' ";
}

// The time in all is a sum of products: epochs, steps (cases to train on by batch, rounded up) and
// the step's own time.
TEST(PlanCommandTest, PlansEveryStageAndWithADataSetTheTimeInAll) {
  const TemporaryFolder folder;
  const std::string data =
      "-d '" + write_ball_dataset(folder / "data", 9, 24).string() + "' ";  // 7 to train on
  const Json json =
      plan_json(curriculum_file(folder, R"([{"patch": [16, 16, 16], "batch": 4, "epochs": 10},
                                          {"patch": "auto", "batch": 1, "epochs": 3},
                                          {"patch": "whole", "batch": 1, "epochs": 2}])") +
                data + "--devices 1 --device-memory 4GiB");
  const Json& stages = json["curriculum"];
  ASSERT_EQ(stages.size(), 3U);
  EXPECT_EQ(stages[0]["input"], Json({16, 16, 16}));
  EXPECT_EQ(stages[1]["input"], Json({24, 24, 24}));  // of a median of 25 x 24 x 25, stride 4
  EXPECT_EQ(stages[2]["input"], Json({25, 24, 26}));  // the largest image
  EXPECT_EQ(stages[2]["patch"], "whole");
  const std::vector<std::int64_t> steps = {2, 7, 7}, epochs = {10, 3, 2};
  double total = 0;
  for (std::size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(stages[i]["steps_per_epoch"], steps[i]);
    EXPECT_EQ(stages[i]["fits"], true);
    const double seconds =
        static_cast<double>(steps[i] * epochs[i]) * stages[i]["step_s"].get<double>();
    EXPECT_NEAR(stages[i]["seconds"].get<double>(), seconds, 1e-9 * seconds);
    total += seconds;
  }
  EXPECT_NEAR(json["total_s"].get<double>(), total, 1e-9 * total);
  EXPECT_EQ(json["step_s"], stages[0]["step_s"]) << "the stage with most voxels speaks for all";
  EXPECT_TRUE(json.contains("layers"));
}

TEST(PlanCommandTest, AStageOfUnknownSizeIsNamed) {
  const TemporaryFolder folder;
  const std::string stages = R"([{"patch": [16, 16, 16], "batch": 4, "epochs": 10},
                                 {"patch": "whole", "batch": 1, "epochs": 2}])";
  const std::string arguments =
      curriculum_file(folder, stages) + "--devices 1 --device-memory 4GiB";
  const Json json = plan_json(arguments);
  EXPECT_EQ(json["curriculum"][1]["planned"], false);
  EXPECT_FALSE(json.contains("total_s"));
  const ProgramResult result = run_lamp("plan " + arguments);
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(result.out, HasSubstr("stage 1 of 2 (16x16x16, batch 4): 10 epochs"));
  EXPECT_THAT(result.out, HasSubstr("stage 2 of 2 (whole volumes, batch 1)"));
  EXPECT_THAT(result.out, HasSubstr("-d FOLDER"));
}

TEST(PlanCommandTest, AStageThatDoesNotFitIsNamed) {
  const TemporaryFolder folder;
  const std::string stages = R"([{"patch": [16, 16, 16], "batch": 4, "epochs": 10},
                                 {"patch": [512, 512, 512], "batch": 4, "epochs": 2}])";
  const ProgramResult result =
      run_lamp("plan " + curriculum_file(folder, stages) + "--devices 1 --device-memory 4GiB");
  EXPECT_EQ(result.exit_code, 5) << result.err;
  EXPECT_THAT(result.err, HasSubstr("stage 2 of 2 (512x512x512, batch 4): nothing fits"));
}

TEST(PlanCommandTest, OneStageIsPlannedAsItAlwaysWas) {
  const TemporaryFolder folder;
  const Json json =
      plan_json(curriculum_file(folder, R"([{"patch": [16, 16, 16], "batch": 4, "epochs": 10}])") +
                "--devices 1 --device-memory 4GiB");
  EXPECT_FALSE(json.contains("curriculum"));
  EXPECT_EQ(json["input"], Json({16, 16, 16}));
}

TEST(PlanCommandTest, AbsurdRequestsEndInSeconds) {
  for (const std::string arguments :
       {"plan --net unet --width 32 --input 64,64,64 --batch 64 --devices 16 --device-memory 16GiB",
        "plan --net unet --width 32 --input 65536,65536,65536 --devices 16 --device-memory 16GiB",
        "plan --net unet --max-input 65536,65536,65536 --devices 4 --device-memory 16GiB",
        "plan --net unet --input 64,64,64 --batch 4096 --devices 1024 --device-memory 1GiB"}) {
    const ProgramResult result = run_lamp(arguments, "timeout -s KILL 90");
    EXPECT_TRUE(result.exit_code == 0 || result.exit_code == 5) << arguments << "\n" << result.err;
  }
}

TEST(PlanCommandTest, SignalsAreHeardWhileItMeasuresAndSearches) {
  for (const std::string arguments :
       {"plan -c liver --device cpu",
        "plan --net unet --width 32 --input 64,64,64 --batch 64 --devices 16 --device-memory "
        "16GiB"}) {
    const ProgramResult result = run_lamp(arguments, "timeout --preserve-status -k 60 -s TERM 5");
    EXPECT_EQ(result.exit_code, 143) << arguments;
    EXPECT_THAT(result.err, HasSubstr("stopped by SIGTERM"));
  }
}

TEST(PlanCommandTest, SaysWhatItMeasures) {
  const ProgramResult result =
      run_lamp("plan --net unet --width 4 --depth 2 --input 32,32,32 --batch 2 --device cpu");
  EXPECT_THAT(result.err, HasSubstr("measuring 2 samples of 32x32x32 in fp32 on cpu"));
}

TEST(PlanCommandTest, RefusesBadInputWithTwoAndAReason) {
  const std::string four = "--devices 4 --device-memory 16GiB ";
  for (const auto& [arguments, part] : std::vector<std::pair<std::string, std::string>>{
           {"--devices 0 --device-memory 16GiB", "--devices: found 0"},
           {"--devices -3 --device-memory 16GiB", "--devices: found -3"},
           {"--devices 4", "--device-memory"},
           {"--devices 4 --device-memory -16GiB", "--device-memory"},
           {"--devices 4 --device-memory 0", "--device-memory"},
           {four + "--device cpu,cpu", "--device"},
           {four + "--measure", "--measure"},
           {four + "--input 0,64,64", "--input"},
           {four + "--input 64,64", "64,64"},
           {four + "--batch -1", "--batch"},
           {four + "--batch 0", "--batch"},
           {four + "--batch 4294967296", "at most 1000000000"},
           {four + "--batch 10000 --microbatches 5000", "at most 4096"},
           {four + "--precision bf16", "--precision fp32"},
           {four + "--rounds 7", "--measure"},
           {four + "--svg a.svg --trace a.svg", "same file"},
           {four + "--input 100000,64,64", "each 1 to 65536"},
           {"--net unet --input 64,64,64 --device cpu,cpu,cpu --partition [20,24]",
            "for 3 devices"},
           {four + "--width 0", "width"},
           {four + "--input auto", "--max-input"},
           {four + "--input 64,64,64 --max-input 96,96,96", "--max-input"},
           {four + "--max-input 8,64,64", "--input: found 8,64,64"},
           {four + "--precision auto", "--precision auto"},
           {four + "--flops 0", "--flops"},
           {four + "--bandwidth fast", "--bandwidth"},
           {four + "--bandwidth 10TFLOPS", "--bandwidth"},
           {four + "--flops 50GB/s", "--flops"},
           {"--devices cpu", "--device cpu"},
           {"--devices 2.5 --device-memory 16GiB", "--devices"},
           {"--devices 4 --device-memory 16", "16GiB"},
           {"--devices 2 --device-memory 16GiB,8GiB,4GiB",
            "--device-memory: found 3 sizes for 2 devices; give one for all of them"},
           {"--device cpu,cpu --device-memory 16GiB,8GiB", "--device-memory: found 16.0 GiB and"},
           {"-d somewhere", "-c CONFIG"},
           {"-c demo -d somewhere --input 64,64,64", "--input"},
           {four + "--schedule 1f2b", "1f2b"},
           {four + "--microbatches 0", "microbatches"},
           {four + "--partition [1,2]", "--partition"},
           {four + "--net yolo", "yolo"},
           {"--flops 10T --device cpu", "--flops"},
           {"--device cpu,gpu", "--device"}}) {
    const ProgramResult result = run_lamp("plan " + arguments);
    EXPECT_EQ(result.exit_code, 2) << arguments << result.err;
    EXPECT_THAT(result.err, HasSubstr(part)) << arguments;
  }
}

TEST(PlanCommandTest, UnequalDevicesKeepToTheirOwnMemory) {
  const std::string work =
      "--net unet --width 16 --input 128,128,128 --batch 8 --flops 10T --bandwidth 50GB/s "
      "--recompute never --microbatches 4 --schedule 1f1b --devices 2 ";
  const Json equal = plan_json(work + "--device-memory 64GiB");
  ASSERT_EQ(equal["devices"].size(), 2U);
  const auto peak = equal["devices"][1]["peak_bytes"].get<std::int64_t>();
  const std::int64_t small = peak * 9 / 10;
  const Json json = plan_json(work + "--device-memory 64GiB," + std::to_string(small));
  EXPECT_EQ(json["fits"], true);
  EXPECT_EQ(json["devices"][0]["memory_bytes"], std::int64_t{64} << 30);
  if (json["devices"].size() < 2) return;  // the larger one alone
  EXPECT_EQ(json["devices"][1]["memory_bytes"], small);
  EXPECT_LE(json["devices"][1]["peak_bytes"], small);
  EXPECT_NE(json["partition"], equal["partition"]);
}

TEST(PlanCommandTest, AnInputBelowTheStrideIsPlannedAsAStepPadsIt) {
  const ProgramResult result =
      run_lamp("plan --devices 1 --device-memory 16GiB --net unet --input 16,64,40");
  EXPECT_EQ(result.exit_code, 0) << result.err;
}

}  // namespace
}  // namespace lamp::testing
