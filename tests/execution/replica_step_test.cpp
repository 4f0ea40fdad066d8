// A step of R replicas with M micro-batches each is the step of R * M micro-batches on one device:
// loss, gradients of every parameter, running statistics, dropout masks.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/nn/modules/batchnorm.h>
#include <torch/nn/modules/conv.h>
#include <torch/types.h>

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "lamp/execution/batch_loss.h"
#include "lamp/nets/net_factory.h"
#include "lamp/pipeline/pipeline.h"
#include "lamp/sequence/dropout.h"
#include "support/every_schedule.h"
#include "support/random_chain.h"

namespace lamp {
namespace {

using ::testing::AllOf;
using testing::copy_buffers;
using testing::difference;
using ::testing::HasSubstr;
using testing::take_gradients;

struct ReplicaCase {
  NetConfig net{.name = "seunet", .width = 4, .depth = 2, .classes = 3};
  std::int64_t samples = 6;
  torch::Dtype dtype = torch::kFloat64;
  const char* loss = "dice_cross_entropy";
};

struct ReplicaStep {
  StepResult result;
  std::vector<torch::Tensor> gradients, buffers;
};

ReplicaStep replica_step(const ReplicaCase& what, PipelineOptions options) {
  Network network = make_network(what.net);
  network.initialise(1);
  network.chain->to(what.dtype);
  network.chain->train();
  options.make_chain = [&] { return make_network(what.net).chain; };
  Pipeline pipeline(network.chain, std::move(options));
  torch::manual_seed(7);
  const std::vector<std::int64_t> voxels = {what.samples, 16, 8, 9};
  StepBatch batch{.image = torch::randn({what.samples, what.net.in_channels, 16, 8, 9}) * 3 + 2,
                  .label = torch::randint(0, what.net.classes, voxels).to(torch::kInt16),
                  .flags = torch::ones({what.samples, what.net.classes})};
  batch.image = batch.image.to(what.dtype);
  batch.flags[0][1] = batch.flags[0][0] = 0;
  const auto loss =
      make_loss(parse_loss_config({{"name", what.loss}}), torch::ones({what.net.classes}));
  ReplicaStep step;
  step.result = pipeline.step(network.prepare(batch.image),
                              [&](const torch::Tensor& output, const BatchPart& part) {
                                return batch_loss(network, *loss, batch, output, part);
                              });
  step.gradients = take_gradients(*network.chain);
  step.buffers = copy_buffers(*network.chain);
  return step;
}

PipelineOptions replica_grid(int replicas, int stages, int slabs, int microbatches) {
  const auto workers = static_cast<std::size_t>(replicas * stages * slabs);
  return {.devices = std::vector<c10::Device>(workers, c10::kCPU),
          .replicas = replicas,
          .slabs = slabs,
          .microbatches = microbatches};
}

double norm_of(const std::vector<torch::Tensor>& tensors) {
  double squares = 0;
  for (const torch::Tensor& tensor : tensors)
    squares += std::pow(tensor.to(torch::kFloat64).norm().item<double>(), 2);
  return std::sqrt(squares);
}

// Each tensor by itself; those that are nothing but rounding beside all of them vanish as well.
void expect_close(const std::vector<torch::Tensor>& found,
                  const std::vector<torch::Tensor>& expected, double bound) {
  ASSERT_EQ(found.size(), expected.size());
  const double vanishing = bound * norm_of(expected);
  for (std::size_t i = 0; i < expected.size(); ++i) {
    const torch::Tensor wanted = expected[i].to(torch::kFloat64);
    const double error = (found[i].to(torch::kFloat64) - wanted).norm().item<double>();
    EXPECT_LE(error, std::max(bound * wanted.norm().item<double>(), 2 * vanishing)) << i;
  }
}

void expect_step_of_replicas(const ReplicaCase& what, const PipelineOptions& replicas,
                             const PipelineOptions& one, double bound) {
  const ReplicaStep found = replica_step(what, replicas), expected = replica_step(what, one);
  EXPECT_GT(norm_of(expected.gradients), 0);
  EXPECT_NEAR(found.result.loss / expected.result.loss, 1, bound);
  expect_close(found.gradients, expected.gradients, bound);
  expect_close(found.buffers, expected.buffers, bound);
}

TEST(ReplicaStepTest, IsTheStepOfFurtherMicroBatches) {
  for (const char* name : {"unet", "seunet"})
    for (const torch::Dtype dtype : {torch::kFloat64, torch::kFloat32})
      for (const auto& [replicas, microbatches] : {std::pair{2, 1}, {2, 3}, {3, 2}, {6, 1}}) {
        SCOPED_TRACE(std::string(name) + " " + std::to_string(replicas) + " replicas");
        ReplicaCase what{.dtype = dtype};
        what.net.name = name;
        expect_step_of_replicas(what, replica_grid(replicas, 1, 1, microbatches),
                                {.microbatches = replicas * microbatches},
                                dtype == torch::kFloat64 ? 1e-12 : 1e-5);
      }
}

TEST(ReplicaStepTest, WithStagesSlabsSchedulesAndRecomputation) {
  for (const ScheduleKind schedule : testing::kEverySchedule)
    for (const RecomputeRule rule : testing::kEveryRule)
      for (const bool deferred : {false, true}) {
        SCOPED_TRACE(to_string(schedule) + " " + to_string(rule));
        PipelineOptions grid = replica_grid(2, 2, 2, 2);
        grid.schedule = schedule;
        grid.recompute = {rule, rule};
        grid.deferred_batch_norm = deferred;
        expect_step_of_replicas({.samples = 4}, grid,
                                {.microbatches = 4, .deferred_batch_norm = deferred}, 1e-12);
      }
}

// 5 samples over 2 replicas of 2 micro-batches: 2, 1 and 1, 1. Of 2 samples the third has none; one
// sample is one replica's.
TEST(ReplicaStepTest, PartsMayBeUnevenAndReplicasIdle) {
  expect_step_of_replicas({.samples = 5}, replica_grid(2, 1, 1, 2), {.microbatches = 4}, 1e-12);
  expect_step_of_replicas({.samples = 2}, replica_grid(3, 1, 2, 2), {.microbatches = 2}, 1e-12);
  expect_step_of_replicas({.samples = 1}, replica_grid(2, 2, 1, 1), {.microbatches = 1}, 1e-12);
  EXPECT_EQ(split_over_replicas(5, 2, 2),
            (std::vector<MicroBatch>{{0, 2}, {2, 1}, {3, 1}, {4, 1}}));
  EXPECT_EQ(split_over_replicas(3, 2, 4).size(), 2U) << "the second has one sample";
}

TEST(ReplicaStepTest, EveryLossThatIsASumOverSamples) {
  for (const char* loss : {"lamp", "dice", "cross_entropy", "dice_boundary"}) {
    SCOPED_TRACE(loss);
    expect_step_of_replicas({.samples = 4, .loss = loss}, replica_grid(2, 1, 2, 2),
                            {.microbatches = 4}, 1e-12);
  }
}

TEST(ReplicaStepTest, RepeatsItsBits) {
  const ReplicaCase what{.dtype = torch::kFloat32};
  const ReplicaStep first = replica_step(what, replica_grid(3, 1, 2, 2));
  for (int again = 0; again < 3; ++again) {
    const ReplicaStep next = replica_step(what, replica_grid(3, 1, 2, 2));
    EXPECT_EQ(next.result.loss, first.result.loss);
    for (std::size_t i = 0; i < first.gradients.size(); ++i)
      EXPECT_TRUE(torch::equal(next.gradients[i], first.gradients[i])) << i;
    for (std::size_t i = 0; i < first.buffers.size(); ++i)
      EXPECT_TRUE(torch::equal(next.buffers[i], first.buffers[i])) << i;
  }
}

// One cut of two stages in two replicas sends as much as in one.
TEST(ReplicaStepTest, CountsWhatAllReplicasSendAndDo) {
  const StepResult one = replica_step({.samples = 4}, replica_grid(1, 2, 2, 4)).result;
  const StepResult two = replica_step({.samples = 4}, replica_grid(2, 2, 2, 2)).result;
  EXPECT_EQ(two.boundary_bytes, one.boundary_bytes);
  EXPECT_EQ(two.skip_bytes, one.skip_bytes);
  EXPECT_EQ(two.halo_bytes, one.halo_bytes);
  EXPECT_EQ(two.timeline.size(), one.timeline.size());
  EXPECT_EQ(two.stage_peak_bytes.size(), 8U);
  EXPECT_TRUE(std::any_of(two.timeline.begin(), two.timeline.end(),
                          [](const TimelineEntry& entry) { return entry.stage == 7; }));
}

std::shared_ptr<Sequence> dropout_chain() {
  torch::manual_seed(2);
  auto chain = std::make_shared<Sequence>(
      std::vector<Link>{{"conv", as_layer(torch::nn::Conv3d(torch::nn::Conv3dOptions(
                                     testing::kChannels, testing::kChannels, 1)))},
                        {"dropout", std::make_shared<Dropout>(0.5)},
                        {"tanh", as_layer([](torch::Tensor x) { return x.tanh(); })}});
  chain->to(torch::kFloat64);
  return chain;
}

TEST(ReplicaStepTest, DropoutMasksAreThoseOfTheMicroBatches) {
  const torch::Tensor batch = testing::random_batch(6, 3);
  const auto gradients_of = [&](PipelineOptions options) {
    const auto chain = dropout_chain();
    options.seed = 9;
    options.make_chain = dropout_chain;
    const StepResult result = Pipeline(chain, options).step(batch, testing::mean_square);
    auto gradients = take_gradients(*chain);
    gradients.push_back(result.input_gradient);
    return gradients;
  };
  const auto expected = gradients_of({.microbatches = 6});
  EXPECT_LE(difference(gradients_of(replica_grid(2, 1, 1, 3)), expected), 1e-12);
  EXPECT_LE(difference(gradients_of(replica_grid(3, 1, 1, 2)), expected), 1e-12);
  EXPECT_GT(difference(gradients_of({.microbatches = 3}), expected), 1e-3) << "masks are drawn";
}

TEST(ReplicaStepTest, APredictionIsTheFirstReplicas) {
  const auto chain = dropout_chain();
  chain->eval();
  const torch::Tensor input = testing::random_batch(3, 1).detach();
  PipelineOptions options = replica_grid(2, 1, 1, 1);
  options.make_chain = dropout_chain;
  Pipeline pipeline(chain, options);
  EXPECT_TRUE(torch::allclose(pipeline.predict({input, input})[1], chain->forward(input), 1e-12));
}

// Throws where a replica has an odd number of values.
std::shared_ptr<Sequence> failing_chain() {
  auto norm = DeferrableBatchNorm3d(torch::nn::BatchNorm3dOptions(testing::kChannels));
  auto chain = std::make_shared<Sequence>(
      std::vector<Link>{{"norm", as_layer(norm)}, {"fault", as_layer([](torch::Tensor x) {
                                                     if (x.numel() % 2 == 1)
                                                       throw std::runtime_error("odd");
                                                     return x * 2;
                                                   })}});
  chain->to(torch::kFloat64);
  return chain;
}

TEST(ReplicaStepTest, AFailureNamesItsReplicaAndLeavesNothing) {
  const auto chain = failing_chain();
  PipelineOptions options = replica_grid(3, 1, 1, 1);
  options.make_chain = failing_chain;
  Pipeline pipeline(chain, options);
  const auto before = copy_buffers(*chain);
  const torch::Tensor batch = torch::randn({5, testing::kChannels, 3, 3, 1}, torch::kFloat64);
  try {
    pipeline.step(batch, testing::mean_square);  // parts of 2, 2 and 1 samples, 27 values each
    FAIL() << "the last part is odd";
  } catch (const std::exception& error) {
    EXPECT_THAT(error.what(),
                AllOf(HasSubstr("odd"), HasSubstr("replica 2, stage 0, layer fault")));
  }
  EXPECT_EQ(difference(copy_buffers(*chain), before), 0);
  for (const auto& gradient : take_gradients(*chain)) EXPECT_FALSE(gradient.defined());
  const torch::Tensor even = torch::randn({6, testing::kChannels, 3, 3, 1}, torch::kFloat64);
  const auto one = failing_chain();
  const double loss = pipeline.step(even, testing::mean_square).loss;
  EXPECT_NEAR(loss, Pipeline(one, {.microbatches = 3}).step(even, testing::mean_square).loss,
              1e-12);
  EXPECT_LE(difference(take_gradients(*chain), take_gradients(*one)), 1e-12);
  EXPECT_LE(difference(copy_buffers(*chain), copy_buffers(*one)), 1e-12);
}

}  // namespace
}  // namespace lamp
