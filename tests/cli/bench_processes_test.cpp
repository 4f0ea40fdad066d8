// `lamp bench step` under a launcher: the report of one process with as many threads, and the end
// of all when one is killed or the split is not theirs.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <string>
#include <thread>
#include <vector>

#include "lamp/base/errors.h"
#include "lamp/base/json.h"
#include "lamp/processes/launch.h"
#include "processes/process_group.h"
#include "support/run_program.h"

namespace lamp {
namespace {

using ::testing::HasSubstr;
using testing::ProcessGroup;
using Words = std::vector<std::string>;

Words bench_words(const Words& more) {
  Words words = {LAMP_PROGRAM, "bench",   "step",    "--net",     "unet",
                 "--width",    "4",       "--depth", "2",         "--input",
                 "32,24,24",   "--batch", "4",       "--classes", "3"};
  words.insert(words.end(), more.begin(), more.end());
  return words;
}

std::string joined_words(const Words& words) {
  std::string text;
  for (std::size_t i = 1; i < words.size(); ++i) text += " " + testing::quoted(words[i]);
  return text;
}

// A plan of four devices and threads, for both to obey.
std::string written_plan(const testing::TemporaryFolder& folder, const std::string& split) {
  const std::string file = (folder / "plan.json").string();
  const auto made = testing::run_lamp(
      "plan --net unet --width 4 --depth 2 --input 32,24,24 --batch 4 --classes 3 --device "
      "cpu,cpu,cpu,cpu "
      "--split " +
      split + " --threads 4 -o '" + file + "'");
  EXPECT_EQ(made.exit_code, 0) << made.err;
  return file;
}

Json report_of(const std::string& text) {
  EXPECT_TRUE(Json::accept(text)) << text;
  return Json::parse(text, nullptr, /*allow_exceptions=*/false);
}

TEST(BenchProcessesTest, FourProcessesReportTheStepsOfOne) {
  for (const char* split : {"stages=2,slabs=2", "replicas=2,stages=2"}) {
    const testing::TemporaryFolder folder;
    const Words words = bench_words({"--rounds", "2", "--plan", written_plan(folder, split)});
    const auto one = testing::run_lamp(joined_words(words));
    ASSERT_EQ(one.exit_code, 0) << one.err;
    ProcessGroup group(words, 4);
    group.start_all();
    for (int rank = 0; rank < 4; ++rank) ASSERT_EQ(group.wait(rank, 120), 0) << group.error(rank);
    for (int rank = 1; rank < 4; ++rank) EXPECT_EQ(group.output(rank), "");
    const Json expected = report_of(one.out), found = report_of(group.output(0));
    for (const char* key : {"loss", "gradient_norm", "boundary_bytes", "skip_bytes", "halo_bytes",
                            "peak_in_flight", "partition", "schedule", "microbatches", "threads"})
      EXPECT_EQ(found[key], expected[key]) << split << " " << key;
    EXPECT_EQ(found["processes"], 4);
    EXPECT_EQ(found["peak_bytes"].size(), 4U);
    EXPECT_EQ(found["timeline"].size(), expected["timeline"].size());
    EXPECT_FALSE(expected.contains("processes"));
  }
}

// Without a split all processes are stages.
TEST(BenchProcessesTest, ProcessesAreStagesWhereNothingElseIsSaid) {
  ProcessGroup group(bench_words({"--rounds", "1", "--device", "cpu"}), 2);
  group.start_all();
  for (int rank = 0; rank < 2; ++rank) ASSERT_EQ(group.wait(rank, 120), 0) << group.error(rank);
  const Json report = report_of(group.output(0));
  EXPECT_EQ(report["stages"], 2);
  EXPECT_EQ(report["device"], "cpu,cpu");
  EXPECT_EQ(report["threads"], 2);  // OMP_NUM_THREADS=1 of each
}

TEST(BenchProcessesTest, AKilledProcessEndsTheOthersWithItsRank) {
  for (const int killed : {0, 1}) {
    ProcessGroup group(bench_words({"-v", "--rounds", "1000", "--split", "slabs=2"}), 2);
    group.start_all();
    const int other = 1 - killed;
    for (int i = 0; i < 6000 && group.error(other).find("in round 2") == std::string::npos; ++i)
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    group.signal(killed, SIGKILL);
    EXPECT_EQ(group.wait(other, 5), kExitRuntime);
    const std::string text = group.error(other);
    EXPECT_THAT(text.substr(text.rfind("\nlamp: ") + 1),
                HasSubstr("rank " + std::to_string(killed) + " on " + host_name()));
    EXPECT_EQ(group.output(other), "");
  }
}

TEST(BenchProcessesTest, ASplitOfAnotherProductIsRefusedByAll) {
  ProcessGroup group(bench_words({"--split", "stages=3"}), 2);
  group.start_all();
  for (int rank = 0; rank < 2; ++rank) {
    EXPECT_EQ(group.wait(rank), kExitUsage);
    const std::string text = group.error(rank);
    EXPECT_THAT(text, HasSubstr("--split: found replicas=1,stages=3,slabs=1, a product of 3, for 2 "
                                "processes of torchrun; give a split whose product is 2"));
    EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 1) << text;
  }
}

TEST(BenchProcessesTest, AProcessOfSeveralDevicesIsRefused) {
  ProcessGroup group(bench_words({"--device", "cpu,cpu"}), 2);
  group.start_all();
  for (int rank = 0; rank < 2; ++rank) {
    EXPECT_EQ(group.wait(rank), kExitUsage);
    EXPECT_THAT(group.error(rank), HasSubstr("--device: found cpu,cpu in one of 2 processes"));
  }
}

TEST(BenchProcessesTest, AnotherRequestOfOneProcessIsNamed) {
  ProcessGroup first(bench_words({"--rounds", "3"}), 2);
  ProcessGroup second(bench_words({"--rounds", "4"}), 2,
                      {{"MASTER_PORT", std::to_string(first.port())}});
  first.start(0);
  second.start(1);
  EXPECT_EQ(first.wait(0), kExitUsage);
  EXPECT_EQ(second.wait(1), kExitUsage);
  EXPECT_THAT(first.error(0),
              HasSubstr("rank 1 on " + host_name() + ": rounds: found 4, rank 0 has 3"));
}

}  // namespace
}  // namespace lamp
