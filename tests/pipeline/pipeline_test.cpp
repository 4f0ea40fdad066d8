// A pipeline computes what one graph computes: loss, gradients, buffers and the input's gradient,
// for every cut, schedule, micro-batch count and recompute rule.
#include "lamp/pipeline/pipeline.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/nn/modules/batchnorm.h>
#include <torch/nn/modules/conv.h>
#include <torch/nn/modules/dropout.h>
#include <torch/types.h>
#include <torch/utils.h>

#include <algorithm>
#include <chrono>
#include <numeric>
#include <thread>

#include "lamp/base/errors.h"
#include "support/devices.h"
#include "support/every_schedule.h"
#include "support/random_chain.h"

namespace lamp {
namespace {

using namespace lamp::testing;  // NOLINT: the test's own support

// Cuts at random places.
Partition random_partition(Random& random, std::size_t links, int stages) {
  std::vector<std::int64_t> counts(static_cast<std::size_t>(stages), 1);
  for (std::size_t spare = links - counts.size(); spare > 0; --spare)
    ++counts[static_cast<std::size_t>(random.below(stages))];
  return partition_by_counts(counts, links);
}

PipelineOptions options_of(Random& random, const Sequence& chain, int stages) {
  PipelineOptions options{.threads_per_stage = 1};
  options.devices.assign(static_cast<std::size_t>(stages), c10::kCPU);
  options.partition = random_partition(random, chain.size(), stages);
  return options;
}

struct Outcome {
  double loss;
  std::vector<torch::Tensor> gradients, buffers;
  torch::Tensor input_gradient;
};

Outcome run_pipeline(const std::shared_ptr<Sequence>& chain, const PipelineOptions& options,
                     const torch::Tensor& batch) {
  const auto before = copy_buffers(*chain);
  Pipeline pipeline(chain, options);
  const StepResult result = pipeline.step(batch, mean_square, {.step = 3});
  Outcome outcome{result.loss, take_gradients(*chain), copy_buffers(*chain), result.input_gradient};
  set_buffers(*chain, before);
  return outcome;
}

Outcome run_plain(Sequence& chain, const torch::Tensor& batch, int microbatches,
                  std::uint64_t seed = 0) {
  chain.to(batch.device());  // from its stages
  const auto before = copy_buffers(chain);
  const PlainResult result = plain_step(chain, batch, microbatches, mean_square, seed, 3);
  Outcome outcome{result.loss, take_gradients(chain), copy_buffers(chain), result.input_gradient};
  set_buffers(chain, before);
  return outcome;
}

void expect_equal(const Outcome& found, const Outcome& expected, double tolerance) {
  EXPECT_NEAR(found.loss, expected.loss, tolerance * std::max(1.0, expected.loss));
  EXPECT_LE(difference(found.gradients, expected.gradients), tolerance);
  EXPECT_LE(difference(found.buffers, expected.buffers), tolerance);
  EXPECT_LE(difference({found.input_gradient}, {expected.input_gradient}), tolerance);
}

// On a GPU every other stage is the CPU's, so that tensors travel.
class PipelineDeviceTest : public DeviceTest {
 protected:
  std::shared_ptr<Sequence> chain_of(const ChainOptions& options) const {
    const auto chain = random_chain(options);
    chain->to(device());
    return chain;
  }
  torch::Tensor batch_of(std::int64_t samples, std::uint64_t seed) const {
    return random_batch(samples, seed).detach().to(device()).requires_grad_();
  }
  PipelineOptions with_devices(PipelineOptions options) const {
    for (std::size_t j = 0; j < options.devices.size(); j += 2) options.devices[j] = device();
    return options;
  }
};

TEST_P(PipelineDeviceTest, EqualsThePlainRunForEveryCutScheduleAndRecomputeRule) {
  for (std::uint64_t seed = 0; seed < 4; ++seed) {
    const auto chain = chain_of({.seed = seed, .dropout = true});
    for (int microbatches = 1; microbatches <= 8; ++microbatches) {
      const torch::Tensor batch = batch_of(7, seed);  // which most counts do not divide
      const Outcome plain = run_plain(*chain, batch, microbatches, 5);
      for (int stages = 1; stages <= 6; ++stages) {
        for (std::size_t pick = 0; pick < 3; ++pick) {
          Random random{seed, static_cast<std::uint64_t>(microbatches * 64 + stages), pick};
          PipelineOptions options = with_devices(options_of(random, *chain, stages));
          options.microbatches = microbatches;
          options.seed = 5;
          options.schedule = kEverySchedule[static_cast<std::size_t>(random.below(4))];
          for (int j = 0; j < stages; ++j)
            options.recompute.push_back(kEveryRule[static_cast<std::size_t>(random.below(3))]);
          SCOPED_TRACE(c10::str("seed ", seed, " K ", stages, " M ", microbatches, " ",
                                to_string(options.schedule)));
          expect_equal(run_pipeline(chain, options, batch), plain, tolerance(1e-12, 1e-9));
        }
      }
    }
  }
}

TEST_P(PipelineDeviceTest, GradientsAreTheSameBitsForEveryCutAndSchedule) {
  const auto chain = chain_of({.seed = 11, .layers = 12});
  const torch::Tensor batch = batch_of(6, 11);
  PipelineOptions single{.devices = {device()}, .microbatches = 4, .threads_per_stage = 1};
  const Outcome expected = run_pipeline(chain, single, batch);
  for (int stages = 2; stages <= 6; ++stages) {
    for (const ScheduleKind kind : kEverySchedule) {
      Random random{7, static_cast<std::uint64_t>(stages)};
      PipelineOptions options = with_devices(options_of(random, *chain, stages));
      options.microbatches = 4;
      options.schedule = kind;
      SCOPED_TRACE(c10::str("K ", stages, " ", to_string(kind)));
      expect_equal(run_pipeline(chain, options, batch), expected, tolerance(0, 1e-9));
    }
  }
}

TEST_P(PipelineDeviceTest, WithoutBatchStatisticsItEqualsTheUnsplitBatch) {
  const auto chain = chain_of({.seed = 3, .norms = false});
  const torch::Tensor batch = batch_of(9, 3);
  const Outcome whole = run_plain(*chain, batch, 1);
  for (int microbatches = 2; microbatches <= 8; ++microbatches) {
    Random random{3, 3};
    PipelineOptions options = with_devices(options_of(random, *chain, 3));
    options.microbatches = microbatches;
    expect_equal(run_pipeline(chain, options, batch), whole, tolerance(1e-12, 1e-9));
  }
}

TEST(PipelineTest, GradientsAreAddedToThoseThatAreThere) {
  const auto chain = random_chain({.seed = 4, .norms = false});
  const torch::Tensor batch = random_batch(4, 4);
  Random random{4, 4};
  Pipeline pipeline(chain, options_of(random, *chain, 2));
  pipeline.step(batch, mean_square);
  std::vector<torch::Tensor> once;
  for (const auto& parameter : chain->parameters()) once.push_back(parameter.grad() * 2);
  pipeline.step(batch, mean_square);
  EXPECT_LE(difference(take_gradients(*chain), once), 1e-12);
}

TEST(PipelineTest, TheGradientScaleReachesGradientsButNotTheLoss) {
  const auto chain = random_chain({.seed = 5, .norms = false});
  const torch::Tensor batch = random_batch(4, 5);
  const Outcome plain = run_plain(*chain, batch, 2);
  Random random{5, 5};
  PipelineOptions options = options_of(random, *chain, 2);
  options.microbatches = 2;
  Pipeline pipeline(chain, options);
  const StepResult result = pipeline.step(batch, mean_square, {.gradient_scale = 8});
  EXPECT_NEAR(result.loss, plain.loss, 1e-12);
  auto gradients = take_gradients(*chain);
  for (auto& gradient : gradients)
    if (gradient.defined()) gradient = gradient / 8;
  EXPECT_LE(difference(gradients, plain.gradients), 1e-12);
}

TEST(PipelineTest, InFlightPeaksAreTheSchedulesColumn) {
  const auto chain = random_chain({.seed = 6});
  for (const ScheduleKind kind : kEverySchedule) {
    Random random{6, 6};
    PipelineOptions options = options_of(random, *chain, 4);
    options.microbatches = 6;
    options.schedule = kind;
    Pipeline pipeline(chain, options);
    EXPECT_EQ(pipeline.step(random_batch(6, 6), mean_square).peak_in_flight,
              peak_in_flight(make_schedule(kind, 4, 6)));
    take_gradients(*chain);
  }
}

TEST_P(PipelineDeviceTest, PredictionsKeepTheirOrderAndTheirSizes) {
  const auto chain = chain_of({.seed = 8, .norms = false});
  chain->eval();
  std::vector<torch::Tensor> inputs, expected;
  const int threads = at::get_num_threads();
  at::set_num_threads(1);  // as many as each of three stages gets: other numbers, other bits
  for (std::int64_t i = 0; i < 9; ++i) {
    inputs.push_back(
        torch::randn({1 + i % 2, kChannels, 2 + i % 3, 3, 2 + i}, torch::kFloat64).to(device()));
    const torch::NoGradGuard no_gradients;
    expected.push_back(chain->forward(inputs.back()));
  }
  at::set_num_threads(std::min(threads, 3));
  Random random{8, 8};
  Pipeline pipeline(chain, with_devices(options_of(random, *chain, 3)));
  const auto outputs = pipeline.predict(inputs);
  EXPECT_LE(difference(outputs, expected), tolerance(0, 1e-9));
  for (const auto& output : outputs) EXPECT_FALSE(output.requires_grad());
}

LAMP_TEST_ON_DEVICES(PipelineDeviceTest);

TEST(PipelineTest, FrozenStagesAndUnusedSkipsHaveNoGradient) {
  const auto chain = random_chain({.seed = 9});
  for (std::size_t link = 0; link < chain->size() / 2; ++link)
    for (auto& parameter : chain->layers()[link]->parameters()) parameter.set_requires_grad(false);
  const torch::Tensor batch = random_batch(4, 9).detach();
  const Outcome plain = run_plain(*chain, batch, 2);
  for (const RecomputeRule rule : kEveryRule) {
    Random random{9, 9};
    PipelineOptions options = options_of(random, *chain, 4);
    options.microbatches = 2;
    options.recompute.assign(4, rule);
    const Outcome found = run_pipeline(chain, options, batch);
    EXPECT_LE(difference(found.gradients, plain.gradients), 1e-12);
  }
}

// Failures.

class Faulty : public Layer {
 public:
  Faulty(int call, std::chrono::milliseconds delay) : call_(call), delay_(delay) {}
  torch::Tensor forward(torch::Tensor input, SkipPort&) override {
    std::this_thread::sleep_for(delay_);
    if (calls_++ == call_) throw std::runtime_error("the disk is full");
    return input * 1;
  }

 private:
  int call_;
  std::chrono::milliseconds delay_;
  int calls_ = 0;
};

std::shared_ptr<Sequence> faulty_chain(int call) {
  std::vector<Link> links;
  for (int i = 0; i < 4; ++i) {
    links.push_back(
        {"conv" + std::to_string(i),
         as_layer(torch::nn::Conv3d(torch::nn::Conv3dOptions(kChannels, kChannels, 1)))});
    links.push_back({"norm" + std::to_string(i),
                     as_layer(DeferrableBatchNorm3d(torch::nn::BatchNorm3dOptions(kChannels)))});
  }
  links.insert(links.begin() + 4,
               {"fault", std::make_shared<Faulty>(call, std::chrono::milliseconds(1))});
  auto chain = std::make_shared<Sequence>(std::move(links));
  chain->to(torch::kFloat64);
  return chain;
}

TEST(PipelineFailureTest, TheFirstCauseReachesTheCallerWithItsPlace) {
  const auto chain = faulty_chain(2);
  Pipeline pipeline(chain, {.devices = std::vector<c10::Device>(3, c10::kCPU),
                            .partition = partition_by_counts({3, 3, 3}, 9),
                            .microbatches = 4});
  const auto begin = std::chrono::steady_clock::now();
  try {
    pipeline.step(random_batch(4, 0), mean_square);
    FAIL() << "nothing was thrown";
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), ::testing::AllOf(::testing::HasSubstr("the disk is full"),
                                               ::testing::HasSubstr("stage 1"),
                                               ::testing::HasSubstr("layer fault"),
                                               ::testing::HasSubstr("micro-batch 2")));
  }
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(1));
}

TEST(PipelineFailureTest, AFailedStepLeavesNoTraceAndTheNextIsRight) {
  for (const ScheduleKind kind : kEverySchedule) {
    for (int call = 0; call < 8; ++call) {
      const auto chain = faulty_chain(call);
      const torch::Tensor batch = random_batch(4, 2);
      const auto buffers = copy_buffers(*chain);
      Pipeline pipeline(chain, {.devices = std::vector<c10::Device>(3, c10::kCPU),
                                .partition = partition_by_counts({2, 4, 3}, 9),
                                .schedule = kind,
                                .microbatches = 4,
                                .recompute = std::vector(3, RecomputeRule::kAlways),
                                .threads_per_stage = 1});
      EXPECT_THROW(pipeline.step(batch, mean_square), Error);
      EXPECT_EQ(difference(copy_buffers(*chain), buffers), 0);
      for (const auto& parameter : chain->parameters()) EXPECT_FALSE(parameter.grad().defined());
      const StepResult result = pipeline.step(batch, mean_square);
      const Outcome found{result.loss, take_gradients(*chain), copy_buffers(*chain),
                          result.input_gradient};
      set_buffers(*chain, buffers);
      expect_equal(found, run_plain(*chain, batch, 4), 1e-12);
    }
  }
}

TEST(PipelineFailureTest, ALossThatThrowsOrIsNoNumberEndsTheStep) {
  const auto chain = random_chain({.seed = 2});
  Pipeline pipeline(chain, {.devices = {c10::kCPU, c10::kCPU}, .microbatches = 2});
  const torch::Tensor batch = random_batch(4, 2);
  EXPECT_THROW(pipeline.step(batch,
                             [](const torch::Tensor&, const MicroBatch&) -> torch::Tensor {
                               throw std::runtime_error("no label");
                             }),
               Error);
  EXPECT_THROW(
      pipeline.step(batch, [](const torch::Tensor& output, const MicroBatch&) { return output; }),
      c10::Error);
  EXPECT_NO_THROW(pipeline.step(batch, mean_square));
}

TEST(PipelineFailureTest, AKernelThatFindsNoMemoryIsMemoryThatRanOut) {
  const auto chain = random_chain({.seed = 2});
  Pipeline pipeline(chain, {.devices = {c10::kCPU, c10::kCPU}});
  const auto fails_with = [&](const char* words) {
    pipeline.step(random_batch(2, 2),
                  [words](const torch::Tensor&, const MicroBatch&) -> torch::Tensor {
                    throw std::runtime_error(words);
                  });
  };
  EXPECT_THROW(fails_with("could not create a primitive"), std::bad_alloc);
  EXPECT_THROW(fails_with("could not create a primitive descriptor iterator"), Error);
}

template <typename Second>
std::shared_ptr<Sequence> chain_of_two(const std::string& name, const Second& second) {
  return std::make_shared<Sequence>(std::vector<Link>{
      {"first", as_layer([](torch::Tensor x) { return x * 2; })}, {name, as_layer(second)}});
}

TEST(PipelineFailureTest, ALayerThatChangesTheBatchIsNamed) {
  const auto chain = chain_of_two("flattens", [](torch::Tensor x) { return x.flatten(0, 1); });
  Pipeline pipeline(chain, {.devices = {c10::kCPU, c10::kCPU}});
  try {
    pipeline.step(random_batch(4, 2), mean_square);
    FAIL() << "nothing was thrown";
  } catch (const c10::Error& error) {
    EXPECT_THAT(error.what(), ::testing::HasSubstr("layer flattens turns a batch of 4 samples"));
  }
}

TEST(PipelineTest, RefusesWhatCannotBeRight) {
  const auto chain = chain_of_two("tanh", [](torch::Tensor x) { return x.tanh(); });
  const std::vector<c10::Device> two = {c10::kCPU, c10::kCPU}, three(3, c10::kCPU);
  EXPECT_THROW(Pipeline(chain, {.devices = three}), UsageError);
  EXPECT_THROW(Pipeline(chain, {.devices = {}}), UsageError);
  EXPECT_THROW(Pipeline(chain, {.devices = two, .microbatches = 0}), UsageError);
  EXPECT_THROW(Pipeline(chain, {.devices = two, .partition = {{0, 2}}}), UsageError);
  EXPECT_THROW(Pipeline(chain, {.devices = two, .partition = {{0, 1}, {1, 3}}}), UsageError);
  EXPECT_THROW(Pipeline(chain, {.devices = two, .recompute = {RecomputeRule::kNever}}), UsageError);
  auto dropout =
      std::make_shared<Sequence>(std::vector<Link>{{"drop", as_layer(torch::nn::Dropout(0.5))}});
  EXPECT_THROW(Pipeline(dropout, {}), c10::Error);
}

}  // namespace
}  // namespace lamp
