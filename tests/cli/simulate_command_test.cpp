// `lamp simulate` as users and scripts meet it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <filesystem>

#include "lamp/base/json.h"
#include "support/run_program.h"

namespace lamp::testing {
namespace {

using ::testing::HasSubstr;

Json simulate_json(const std::string& arguments) {
  const ProgramResult result = run_lamp("--json simulate " + arguments);
  EXPECT_EQ(result.exit_code, 0) << result.err;
  return result.exit_code == 0 ? parse_json(result.out, "stdout") : Json();
}

TEST(SimulateCommandTest, PrintsTheDocumentedFields) {
  const Json json = simulate_json("--schedule gpipe --stages 3 --microbatches 4");
  EXPECT_EQ(json["makespan"], 18);
  EXPECT_NEAR(json["bubble"].get<double>(), 2.0 / 6, 1e-12);
  EXPECT_NEAR(json["utilisation"].get<double>(), 4.0 / 6, 1e-12);
  EXPECT_EQ(json["peak_in_flight"], Json({4, 4, 4}));
  ASSERT_EQ(json["timeline"].size(), 24U);
  EXPECT_EQ(
      json["timeline"][0],
      Json({{"stage", 0}, {"kind", "forward"}, {"microbatch", 0}, {"start", 0.0}, {"end", 1.0}}));
}

TEST(SimulateCommandTest, TakesCostsAndRecompute) {
  EXPECT_EQ(simulate_json("--stages 1 --microbatches 4 --recompute always")["makespan"], 16);
  EXPECT_EQ(
      simulate_json(
          "--stages 2 --microbatches 1 --forward 1,2 --backward 3,4 --transfer 0.5")["makespan"],
      11);
  // The same work in all, however it is split.
  EXPECT_EQ(simulate_json("--schedule zero-bubble --stages 4 --microbatches 8")["makespan"], 27);
}

// By hand: a quarter of 4 and of 8 with 0.5 of exchanges each is 1.5 + 2.5, twice. With two stages
// f0 0-1, sent 1-2, f1 2-3, b1 3-5, sent back 5-6, b0 6-8.
TEST(SimulateCommandTest, SlabsShareAStagesTimeAndHaveARowEach) {
  const Json json = simulate_json(
      "--split slabs=4 --microbatches 2 --forward 4 --backward 8 --exchange 0.5 --schedule 1f1b");
  EXPECT_EQ(json["makespan"], 8);
  EXPECT_EQ(json["stages"], 1);
  EXPECT_EQ(json["slabs"], 4);
  EXPECT_EQ(json["busy"], Json({8.0, 8.0, 8.0, 8.0}));
  EXPECT_EQ(json["timeline"].size(), 16U);
  EXPECT_EQ(
      json["timeline"][3],
      Json({{"stage", 3}, {"kind", "forward"}, {"microbatch", 0}, {"start", 0.0}, {"end", 1.5}}));
  const Json both = simulate_json(
      "--split stages=2,slabs=2 --microbatches 1 --forward 2 --backward 4 --transfer 2");
  EXPECT_EQ(both["makespan"], 8);
  for (const Json& entry : both["timeline"]) {
    const int to = entry.value("to_stage", entry["stage"].get<int>());
    EXPECT_EQ(entry["stage"].get<int>() % 2, to % 2) << "slab to slab";
  }
  const TemporaryFolder folder;
  const std::string svg = (folder / "a.svg").string();
  EXPECT_EQ(run_lamp("simulate --split stages=2,slabs=2 --microbatches 1 --svg " + svg).exit_code,
            0);
  EXPECT_THAT(text_of(svg), HasSubstr(">stage 1, slab 1<"));
}

TEST(SimulateCommandTest, RefusesBadInputWithTwoAndAReason) {
  for (const auto& [arguments, part] : std::vector<std::pair<std::string, std::string>>{
           {"", "--stages"},
           {"--stages 0 --microbatches 4", "0 stages"},
           {"--stages -2 --microbatches 4", "-2 stages"},
           {"--stages 2 --microbatches 0", "0 micro-batches"},
           {"--stages 2 --microbatches 4 --schedule 1f2b", "1f2b"},
           {"--stages 2 --microbatches 4 --forward 1,2,3", "--forward"},
           {"--stages 2 --microbatches 4 --backward -1", "--backward"},
           {"--stages 2 --microbatches 4 --transfer nan", "--transfer"},
           {"--stages 2 --microbatches 4 --weight 1", "--weight"},
           {"--stages 2 --microbatches 4 --recompute sometimes", "sometimes"},
           {"--stages 2 --microbatches 2000000000", "20 million"},
           {"--stages 2 --microbatches 2 --split slabs=2", "one of the two"},
           {"--microbatches 2 --split slabs=0", "--split"},
           {"--microbatches 2 --split replicas=2", "--split"},
           {"--stages 2 --microbatches 2 --exchange 1", "slabs"},
           {"--split slabs=2 --microbatches 2 --exchange 1,2", "--exchange"},
           {"--stages 2 --paper", "paper"},
           {"--stages 2 --microbatches 2 --forward 1e308 --backward 1e308", "finite"},
           {"--stages 2 --microbatches 2 --svg a.svg --trace a.svg", "same file"},
           {"--paper --svg a.svg", "paper"}}) {
    const ProgramResult result = run_lamp("simulate " + arguments);
    EXPECT_EQ(result.exit_code, 2) << arguments << result.err;
    EXPECT_THAT(result.err, HasSubstr(part)) << arguments;
  }
}

// Two forwards of 0.6 and two backwards of 1.1, by binary numbers that add up
// to 3.4000000000000004.
TEST(SimulateCommandTest, TextRoundsWhatBinaryNumbersAddUpTo) {
  const ProgramResult result =
      run_lamp("simulate --split slabs=2 --microbatches 2 --forward 1 --backward 2 --exchange 0.1");
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(result.out, HasSubstr("makespan     3.4\n"));
}

TEST(SimulateCommandTest, PrintsThePapersThroughputs) {
  const Json json = simulate_json("--paper");
  EXPECT_EQ(json["conventional"]["batches_per_unit_time"], 0.5);
  EXPECT_EQ(json["lamp"]["batches_per_unit_time"], 0.75);
  const std::string text = run_lamp("simulate --paper").out;
  EXPECT_THAT(text, HasSubstr("t/2"));
  EXPECT_THAT(text, HasSubstr("3t/4"));
  EXPECT_THAT(text, HasSubstr("e1.0"));
}

TEST(SimulateCommandTest, WritesBothPictures) {
  const TemporaryFolder folder;
  const std::string svg = (folder / "a.svg").string();
  const std::string trace = (folder / "a.json").string();
  EXPECT_THAT(run_lamp("simulate --schedule 1f1b --stages 3 --microbatches 4 --svg '" + svg +
                       "' --trace '" + trace + "'")
                  .out,
              HasSubstr("0  F0 F1 F2 .  .  .  .  B0 B0 F3 B1 B1 .  B2 B2 .  B3 B3\n"));
  EXPECT_THAT(text_of(svg), HasSubstr("</svg>"));
  EXPECT_NO_THROW(parse_json(text_of(trace), trace));
}

TEST(SimulateCommandTest, AThousandDevicesAreNoTrouble) {
  const auto start = std::chrono::steady_clock::now();
  const ProgramResult result =
      run_lamp("--json simulate --schedule 1f1b --stages 1024 --microbatches 32");
  EXPECT_EQ(result.exit_code, 0);
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(10));  // a hang
}

// Printed row by row: the tail alone is kept here.
TEST(SimulateCommandTest, AMillionMicroBatchStepsPrintInSeconds) {
  const ProgramResult result = run_lamp(
      "--json simulate --stages 1024 --microbatches 1024 | tail -c 4", "timeout -s KILL 100");
  EXPECT_EQ(result.out, "]\n}\n") << result.err;
}

}  // namespace
}  // namespace lamp::testing
