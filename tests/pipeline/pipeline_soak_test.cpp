// Many short runs over random chains, cuts, schedules, delays and injected faults: none hangs, none
// computes a wrong gradient, every failure tells its first cause and leaves the pipeline usable.
// LAMP_SOAK_RUNS=10000 makes it long.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/types.h>
#include <torch/utils.h>

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <thread>

#include "lamp/base/errors.h"
#include "lamp/pipeline/pipeline.h"
#include "support/random_chain.h"

namespace lamp {
namespace {

using namespace lamp::testing;  // NOLINT: the test's own support

// Sleeps now and then, and throws at one call while it is armed.
class Trouble : public Layer {
 public:
  Trouble(std::uint64_t seed, int throws_at) : seed_(seed), throws_at_(throws_at) {}
  torch::Tensor forward(torch::Tensor input, SkipPort&) override {
    const int call = calls_++;
    Random random{seed_, static_cast<std::uint64_t>(call)};
    if (random.below(4) == 0)
      std::this_thread::sleep_for(std::chrono::microseconds(random.below(800)));
    if (armed && call == throws_at_) throw std::runtime_error("injected fault");
    return input * 1;
  }
  bool armed = true;

 private:
  std::uint64_t seed_;
  int throws_at_;
  int calls_ = 0;
};

struct SoakCase {
  std::shared_ptr<Sequence> chain;
  std::vector<std::shared_ptr<Trouble>> troubles;
  PipelineOptions options;
  torch::Tensor batch;
};

SoakCase draw_case(std::uint64_t run) {
  Random random{run, 4242};
  SoakCase soak;
  torch::manual_seed(run);
  std::vector<Link> links;
  std::vector<std::string> open;
  const int layers = 3 + static_cast<int>(random.below(6));
  for (int i = 0; i < layers; ++i) {
    const std::string number = std::to_string(i);
    links.push_back({"layer" + number, random_layer(random, {.dropout = true})});
    if (random.below(3) == 0) {
      soak.troubles.push_back(
          std::make_shared<Trouble>(run * 100 + static_cast<std::uint64_t>(i),
                                    random.below(6) == 0 ? static_cast<int>(random.below(6)) : -1));
      links.push_back({"trouble" + number, soak.troubles.back()});
    }
    if (random.below(2) == 0) {
      open.push_back("skip" + number);
      links.push_back({"stash" + number, std::make_shared<StashSkip>(open.back())});
    }
    if (open.size() > 1 && random.below(2) == 0) {
      links.push_back({"pop" + number, std::make_shared<AddSkip>(open.front())});
      open.erase(open.begin());
    }
  }
  for (const std::string& skip : open)
    links.push_back({"end_" + skip, std::make_shared<AddSkip>(skip)});
  soak.chain = std::make_shared<Sequence>(std::move(links));
  soak.chain->to(torch::kFloat64);
  const auto most = static_cast<std::int64_t>(std::min<std::size_t>(6, soak.chain->size()));
  const auto stages = static_cast<std::size_t>(1 + random.below(most));
  soak.options.devices.assign(stages, c10::kCPU);
  std::vector<double> costs(soak.chain->size());
  for (double& cost : costs) cost = random.uniform(0.1, 1);
  soak.options.partition = partition_by_costs(costs, stages);
  soak.options.schedule = static_cast<ScheduleKind>(random.below(4));
  soak.options.microbatches = 1 + static_cast<int>(random.below(8));
  soak.options.threads_per_stage = 1;
  soak.options.seed = run;
  for (std::size_t j = 0; j < stages; ++j)
    soak.options.recompute.push_back(static_cast<RecomputeRule>(random.below(3)));
  soak.batch = torch::randn({1 + random.below(9), kChannels, 2, 2, 2}, torch::kFloat64);
  return soak;
}

torch::Tensor soak_loss(const torch::Tensor& output, const MicroBatch&) {
  return output.square().flatten(1).sum(1).mean();
}

// Whether the first step failed, as some shall.
bool soak(std::uint64_t run) {
  SoakCase soak = draw_case(run);
  const auto before = copy_buffers(*soak.chain);
  Pipeline pipeline(soak.chain, soak.options);
  bool failed = false;
  try {
    pipeline.step(soak.batch, soak_loss);
  } catch (const std::exception& error) {
    failed = true;
    EXPECT_THAT(error.what(), ::testing::HasSubstr("injected fault"));
    EXPECT_THAT(error.what(), ::testing::HasSubstr("layer trouble"));
    EXPECT_EQ(difference(copy_buffers(*soak.chain), before), 0);
  }
  for (const auto& trouble : soak.troubles) trouble->armed = false;
  take_gradients(*soak.chain);
  set_buffers(*soak.chain, before);
  const StepResult found = pipeline.step(soak.batch, soak_loss);
  const auto gradients = take_gradients(*soak.chain);
  const auto buffers = copy_buffers(*soak.chain);
  set_buffers(*soak.chain, before);
  const PlainResult plain =
      plain_step(*soak.chain, soak.batch, soak.options.microbatches, soak_loss, run);
  const auto expected = take_gradients(*soak.chain);
  double scale = 1;
  for (const auto& gradient : expected)
    if (gradient.defined()) scale = std::max(scale, gradient.abs().max().item<double>());
  EXPECT_NEAR(found.loss, plain.loss, 1e-12 * std::max(1.0, plain.loss));
  EXPECT_LE(difference(gradients, expected), 1e-12 * scale);
  EXPECT_LE(difference(buffers, copy_buffers(*soak.chain)), 1e-12);
  return failed;
}

TEST(PipelineSoakTest, NoHangNoWrongGradientAndTheFirstCauseIsTold) {
  const char* wanted = std::getenv("LAMP_SOAK_RUNS");
  const int runs = wanted != nullptr ? std::atoi(wanted) : 150;
  int failures = 0;
  for (int run = 0; run < runs && !HasFailure(); ++run) {
    SCOPED_TRACE("run " + std::to_string(run));
    failures += soak(static_cast<std::uint64_t>(run)) ? 1 : 0;
  }
  EXPECT_GT(failures, runs / 50);  // or the faults were never met
  RecordProperty("failed_steps", failures);
}

}  // namespace
}  // namespace lamp
