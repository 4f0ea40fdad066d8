// Many short steps over random chains, grids of replicas, stages and slabs, schedules, delays and
// injected faults: none hangs, none computes a wrong gradient, every failure tells its first cause
// and leaves the pipeline usable. LAMP_SOAK_RUNS=10000 makes it long.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/types.h>
#include <torch/utils.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <thread>

#include "lamp/nets/blocks.h"
#include "lamp/pipeline/pipeline.h"
#include "lamp/sequence/dropout.h"
#include "lamp/sequence/slab_group.h"
#include "support/random_chain.h"

namespace lamp {
namespace {

using testing::copy_buffers;
using testing::difference;
using testing::set_buffers;
using testing::take_gradients;

constexpr std::int64_t kWidth = 3;

// Voxel by voxel. Sleeps now and then; while faults are armed, one call of all throws.
struct Faults {
  std::atomic<int> calls = 0;
  std::atomic<int> throws_at = -1;
};

class SlabTrouble : public Layer {
 public:
  SlabTrouble(std::uint64_t seed, std::shared_ptr<Faults> faults)
      : seed_(seed), faults_(std::move(faults)) {}
  torch::Tensor forward(torch::Tensor input, SkipPort&) override {
    const int call = faults_->calls++;
    Random random{seed_, static_cast<std::uint64_t>(call)};
    if (random.below(4) == 0)
      std::this_thread::sleep_for(std::chrono::microseconds(random.below(800)));
    if (call == faults_->throws_at) throw std::runtime_error("injected fault");
    return input.tanh();
  }
  std::optional<PlaneRule> plane_rule(std::int64_t) const override { return PlaneRule{}; }

 private:
  std::uint64_t seed_;
  std::shared_ptr<Faults> faults_;
};

class SlabAddSkip : public testing::AddSkip {
 public:
  using AddSkip::AddSkip;
  std::optional<PlaneRule> plane_rule(std::int64_t) const override { return PlaneRule{}; }
};

// One layer or two that keep the size.
void append_random(Links& links, Random& random, std::uint64_t run,
                   const std::shared_ptr<Faults>& faults) {
  const std::string name = "layer" + std::to_string(links.size());
  switch (random.below(6)) {
    case 0:
      return links.push_back(conv_link(name, {.in = kWidth, .out = kWidth, .bias = true}));
    case 1:
      return links.push_back(conv_link(name, {.in = kWidth, .out = kWidth, .kernel = 1}));
    case 2:
      return links.push_back(norm_activation_link(name, kWidth));
    case 3:
      return links.push_back({name, std::make_shared<Dropout>(0.3)});
    case 4:
      links.push_back(conv_link(name + "down", {.in = kWidth, .out = kWidth, .stride = 2}));
      return links.push_back(upsampling_link(name + "up", kWidth, kWidth));
    default:
      return links.push_back({"trouble" + name, std::make_shared<SlabTrouble>(run, faults)});
  }
}

// The same chain for the same run.
std::shared_ptr<Sequence> slab_chain(std::uint64_t run, const std::shared_ptr<Faults>& faults) {
  Random random{run, 5151};
  Links links;
  std::vector<std::string> open;
  const auto layers = 3 + random.below(6);
  for (std::int64_t i = 0; i < layers; ++i) {
    append_random(links, random, run, faults);
    const std::string number = std::to_string(i);
    if (random.below(3) == 0) {
      open.push_back("skip" + number);
      links.push_back(stash_link("stash" + number, open.back()));
    }
    if (!open.empty() && random.below(3) == 0) {
      append_random(links, random, run, faults);
      links.push_back({"pop" + number, std::make_shared<SlabAddSkip>(open.front())});
      open.erase(open.begin());
    }
  }
  links.push_back(conv_link("last", {.in = kWidth, .out = kWidth, .bias = true}));
  for (const std::string& skip : open)
    links.push_back({"end_" + skip, std::make_shared<SlabAddSkip>(skip)});
  auto chain = std::make_shared<Sequence>(std::move(links));
  chain->to(torch::kFloat64);
  return chain;
}

// A mean over samples of sums over the whole volumes.
torch::Tensor volume_square(const torch::Tensor& output, const BatchPart& part) {
  const torch::Tensor own = output.square().flatten(1).sum(1).mean();
  if (part.slabs == nullptr) return own;
  return own + (sum_over_slabs(*part.slabs, own) - own.detach());
}

struct SlabRun {
  std::shared_ptr<Faults> faults = std::make_shared<Faults>();
  std::shared_ptr<Sequence> chain;
  PipelineOptions grid, plain;
  torch::Tensor batch;
};

// Replicas are further micro-batches, as many of each as its samples allow.
void add_replicas(SlabRun& drawn, Random& random) {
  const auto replicas = static_cast<int>(1 + random.below(drawn.grid.slabs > 3 ? 2 : 3));
  const std::size_t workers = drawn.grid.devices.size();
  drawn.grid.replicas = replicas;
  drawn.grid.devices.assign(workers * static_cast<std::size_t>(replicas), c10::kCPU);
  if (replicas == 1) return;
  const auto samples = static_cast<int>(drawn.batch.size(0));
  const int used = std::min(replicas, samples);
  drawn.plain.microbatches = used * std::min(drawn.grid.microbatches, samples / used);
}

SlabRun draw_run(std::uint64_t run) {
  Random random{run, 6262};
  SlabRun drawn;
  torch::manual_seed(run);
  drawn.chain = slab_chain(run, drawn.faults);
  drawn.batch =
      torch::randn({1 + random.below(6), kWidth, 4 + 2 * random.below(4), 4, 2}, torch::kFloat64);
  drawn.plain.microbatches = 1 + static_cast<int>(random.below(3));
  drawn.plain.schedule = static_cast<ScheduleKind>(random.below(4));
  drawn.plain.seed = run;
  drawn.grid = drawn.plain;
  drawn.grid.slabs = 1 + static_cast<int>(random.below(drawn.batch.size(2) / 2));
  drawn.plain.deferred_batch_norm = drawn.grid.deferred_batch_norm = random.below(3) == 0;
  const auto most = std::min<std::int64_t>(3, static_cast<std::int64_t>(drawn.chain->size()));
  const auto stages = static_cast<std::size_t>(1 + random.below(most));
  drawn.grid.devices.assign(stages * static_cast<std::size_t>(drawn.grid.slabs), c10::kCPU);
  drawn.grid.partition = partition_by_costs(std::vector<double>(drawn.chain->size(), 1), stages);
  drawn.grid.threads_per_stage = 1;
  for (std::size_t j = 0; j < stages; ++j)
    drawn.grid.recompute.push_back(static_cast<RecomputeRule>(random.below(3)));
  drawn.grid.make_chain = [run, faults = drawn.faults] { return slab_chain(run, faults); };
  add_replicas(drawn, random);
  if (random.below(2) == 0) drawn.faults->throws_at = static_cast<int>(random.below(12));
  return drawn;
}

// Whether the first step failed, as some shall.
bool step_under_fault(SlabRun& drawn, Pipeline& pipeline) {
  const auto before = copy_buffers(*drawn.chain);
  try {
    pipeline.step(drawn.batch, volume_square);
  } catch (const std::exception& error) {
    EXPECT_THAT(error.what(), ::testing::HasSubstr("injected fault"));
    EXPECT_THAT(error.what(), ::testing::HasSubstr("layer trouble"));
    EXPECT_THAT(error.what(), ::testing::HasSubstr(drawn.grid.slabs > 1 ? "slab " : "stage "));
    EXPECT_THAT(error.what(),
                ::testing::HasSubstr(drawn.grid.replicas > 1 ? "replica " : "stage "));
    EXPECT_EQ(difference(copy_buffers(*drawn.chain), before), 0);
    for (const auto& gradient : take_gradients(*drawn.chain)) EXPECT_FALSE(gradient.defined());
    return true;
  }
  take_gradients(*drawn.chain);
  set_buffers(*drawn.chain, before);
  return false;
}

bool soak_slabs(std::uint64_t run) {
  SlabRun drawn = draw_run(run);
  const auto before = copy_buffers(*drawn.chain);
  Pipeline grid(drawn.chain, drawn.grid);
  const bool failed = step_under_fault(drawn, grid);
  drawn.faults->throws_at = -1;
  const StepResult found = grid.step(drawn.batch, volume_square);
  const auto gradients = take_gradients(*drawn.chain);
  const auto buffers = copy_buffers(*drawn.chain);
  set_buffers(*drawn.chain, before);
  const StepResult plain = Pipeline(drawn.chain, drawn.plain).step(drawn.batch, volume_square);
  const auto expected = take_gradients(*drawn.chain);
  double scale = 1;
  for (const auto& gradient : expected)
    if (gradient.defined()) scale = std::max(scale, gradient.abs().max().item<double>());
  EXPECT_NEAR(found.loss, plain.loss, 1e-12 * std::max(1.0, plain.loss));
  EXPECT_LE(difference(gradients, expected), 1e-12 * scale);
  EXPECT_LE(difference(buffers, copy_buffers(*drawn.chain)), 1e-12);
  return failed;
}

TEST(SlabsSoakTest, NoHangNoWrongGradientAndTheFirstCauseIsTold) {
  const char* wanted = std::getenv("LAMP_SOAK_RUNS");
  const int runs = wanted != nullptr ? std::atoi(wanted) : 100;
  int failures = 0;
  for (int run = 0; run < runs && !HasFailure(); ++run) {
    SCOPED_TRACE("run " + std::to_string(run));
    failures += soak_slabs(static_cast<std::uint64_t>(run)) ? 1 : 0;
  }
  EXPECT_GT(failures, runs / 20);  // or the faults were never met
}

// A layer that does not say how planes move through it.
TEST(SlabsTest, AChainThatCannotRunOnSlabsIsRefusedByTheLayersName) {
  const auto chain = [] {
    return std::make_shared<Sequence>(
        Links{{"mystery", as_layer([](torch::Tensor x) { return x * 2; })}});
  };
  Pipeline pipeline(chain(), {.devices = {c10::kCPU, c10::kCPU}, .slabs = 2, .make_chain = chain});
  try {
    pipeline.step(torch::ones({1, 1, 4, 4, 4}), volume_square);
    FAIL() << "the layer's rule is unknown";
  } catch (const std::exception& error) {
    EXPECT_THAT(error.what(), ::testing::HasSubstr("layer mystery cannot run on slabs"));
  }
}

}  // namespace
}  // namespace lamp
