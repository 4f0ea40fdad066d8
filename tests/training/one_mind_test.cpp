// `lamp plan`, `lamp bench step` and a run decide alike, whatever is asked and whatever is left
// open. Seconds come from shapes, so that no clock has a say.
#include <ATen/Parallel.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "lamp/base/errors.h"
#include "lamp/base/files.h"
#include "lamp/base/log.h"
#include "lamp/base/random.h"
#include "lamp/execution/plan_choices.h"
#include "lamp/nets/net_factory.h"
#include "lamp/training/bench.h"
#include "lamp/training/run_plan.h"
#include "support/temporary_folder.h"

namespace lamp {
namespace {

constexpr int kRequests = 300;

template <typename T>
T any_of(Random& random, const std::vector<T>& choices) {
  return choices[static_cast<std::size_t>(random.below(std::ssize(choices)))];
}

ExecutionConfig random_execution(Random& random, std::int64_t links) {
  Json json = {{"costs", "shapes"}};
  const std::int64_t stages = 1 + random.below(4);
  std::string devices = "cpu";
  for (std::int64_t j = 1; j < stages; ++j) devices += ",cpu";
  json["device"] = devices;
  if (random.below(2) == 0)
    json["schedule"] = any_of<std::string>(random, {"naive", "gpipe", "1f1b", "zero-bubble"});
  if (random.below(2) == 0) json["microbatches"] = 1 + random.below(6);
  if (random.below(3) == 0)
    json["recompute"] = any_of<std::string>(random, {"never", "always", "except_last"});
  if (random.below(4) == 0)
    json["partition"] =
        any_of<std::string>(random, {"layers", "parameters", "activations", "time"});
  if (random.below(4) == 0) {
    std::vector<std::int64_t> counts(static_cast<std::size_t>(stages), 1);
    for (std::int64_t left = links - stages; left > 0; --left)
      ++counts[static_cast<std::size_t>(random.below(stages))];
    json["partition"] = counts;
    if (random.below(2) == 0) {
      json["recompute"] = Json::array();
      for (std::int64_t j = 0; j < stages; ++j)
        json["recompute"].push_back(any_of<std::string>(random, {"never", "always"}));
    }
  }
  if (random.below(2) == 0) json["split"] = "auto";
  if (random.below(3) == 0) json["memory"] = (20 + random.below(400)) << 20;
  return parse_execution_config(json);
}

BenchOptions random_request(Random& random) {
  BenchOptions request{.rounds = 1};
  request.net = parse_net_config({{"name", any_of<std::string>(random, {"unet", "seunet"})},
                                  {"width", 2 + random.below(4)},
                                  {"depth", 1 + random.below(2)},
                                  {"classes", 2 + random.below(4)}});
  for (std::int64_t& side : request.input) side = 8 + random.below(17);
  request.batch = 1 + random.below(9);
  const auto links = static_cast<std::int64_t>(make_network(request.net).chain->size());
  request.execution = random_execution(random, links);
  // What is free changes from one question to the next, and reasons name it.
  if (!request.execution.memory_bytes) request.execution.memory_bytes = std::int64_t{16} << 30;
  return request;
}

Json planned(const BenchOptions& request) {
  const NetworkPlan chosen = choose_plan({.net = request.net,
                                          .input = request.input,
                                          .batch = request.batch,
                                          .execution = request.execution,
                                          .device_memory_bytes = request.execution.memory_bytes});
  return to_json(chosen.execution);
}

Json of_a_run(const BenchOptions& request) {
  TrainConfig config;
  config.net = request.net;
  config.execution = request.execution;
  config.curriculum = {{.patch = request.input, .batch = request.batch}};
  return to_json(resolve_curriculum(config, {}, {}, {}).front());
}

TEST(OneMindTest, PlanBenchAndRunDecideAlike) {
  at::set_num_threads(4);
  set_log_level(LogLevel::kError);
  Random random({7, 1});
  int split = 0, on_slabs = 0, refused = 0;
  for (int i = 0; i < kRequests; ++i) {
    const BenchOptions request = random_request(random);
    const Json plan = planned(request);
    const std::string what = plan.dump();
    split += plan["microbatches"] > 1;
    on_slabs += plan["split"].get<std::string>().find("slabs=1") == std::string::npos;
    EXPECT_EQ(of_a_run(request), plan);
    try {
      EXPECT_EQ(to_json(decide_step(request)), plan);
    } catch (const DoesNotFit&) {
      ++refused;
      continue;
    }
    if (i % 10 != 0) continue;
    const Json measured = bench_step(request);
    EXPECT_EQ(measured["microbatches"], plan["microbatches"]) << what;
    EXPECT_EQ(measured["schedule"], plan["schedule"]) << what;
    EXPECT_EQ(measured["partition"], plan["stages"]) << what;
  }
  EXPECT_GT(on_slabs, kRequests / 20);
  EXPECT_GT(split, kRequests / 5);
  EXPECT_LT(refused, kRequests / 2);
  set_log_level(LogLevel::kWarning);
}

// The run began on stages; with a larger batch it is planned anew, but not cut in another way.
TEST(OneMindTest, ARunKeepsItsStagesOrSlabsOverAResume) {
  at::set_num_threads(2);
  set_log_level(LogLevel::kError);
  const testing::TemporaryFolder folder;
  TrainConfig config;
  config.net = parse_net_config({{"width", 2}, {"depth", 1}, {"classes", 2}});
  config.curriculum = {{.patch = Size3{16, 16, 16}, .batch = 1}};
  const auto resolved_with = [&](const char* split, const std::filesystem::path& earlier) {
    config.execution = parse_execution_config(
        {{"device", "cpu,cpu"}, {"split", split}, {"costs", "shapes"}, {"layout", "contiguous"}});
    return resolve_curriculum(config, {}, {}, {.earlier = earlier});
  };
  EXPECT_EQ(resolved_with("auto", {}).front().slabs, 2);
  const auto begun = resolved_with("stages=2", {});
  write_file(folder / "plan.json", dump_json(to_json(begun)));
  EXPECT_EQ(to_json(resolved_with("auto", folder / "plan.json")), to_json(begun));
  config.curriculum.front().batch = 2;
  const auto anew = resolved_with("auto", folder / "plan.json");
  EXPECT_EQ(anew.front().batch, 2);
  EXPECT_EQ(anew.front().grid(), (DeviceGrid{1, 2, 1}));
  set_log_level(LogLevel::kWarning);
}

}  // namespace
}  // namespace lamp
