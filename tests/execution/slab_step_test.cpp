// A step on slabs of each volume is the step on whole volumes: loss, gradients of every parameter
// and running statistics, to what rounding allows.
#include <gtest/gtest.h>
#include <torch/types.h>
#include <torch/utils.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "lamp/base/errors.h"
#include "lamp/base/random.h"
#include "lamp/execution/batch_loss.h"
#include "lamp/nets/net_factory.h"
#include "lamp/pipeline/pipeline.h"
#include "support/every_schedule.h"

namespace lamp {
namespace {

struct SlabCase {
  NetConfig net{.name = "unet", .width = 4, .depth = 2, .classes = 3};
  std::vector<std::int64_t> size = {16, 16, 16};  // D, H, W
  std::int64_t samples = 1;
  LossConfig loss;
  torch::Dtype dtype = torch::kFloat64;
  bool channels_last = true;
};

struct StepOnCpu {
  StepResult result;
  std::map<std::string, torch::Tensor> gradients, buffers;
};

StepBatch slab_batch(const SlabCase& what) {
  torch::manual_seed(7);
  const auto& s = what.size;
  torch::Tensor labels = torch::randint(0, what.net.classes, {what.samples, s[0], s[1], s[2]});
  labels.narrow(3, 0, 2).fill_(-1);  // what no scan showed
  torch::Tensor flags = torch::ones({what.samples, what.net.classes});
  if (what.samples > 1) flags[0][1] = flags[0][0] = 0;
  return {
      .image =
          torch::randn({what.samples, what.net.in_channels, s[0], s[1], s[2]}).to(what.dtype) * 3 +
          2,
      .label = labels.to(torch::kInt16),
      .flags = flags};
}

StepOnCpu step_of(const SlabCase& what, PipelineOptions options) {
  Network network = make_network(what.net);
  network.initialise(1);
  network.chain->to(what.dtype);
  network.chain->train();
  if (what.channels_last) network.use_channels_last();
  options.make_chain = [&] { return make_network(what.net).chain; };
  Pipeline pipeline(network.chain, std::move(options));
  const auto loss = make_loss(what.loss, torch::ones({what.net.classes}));
  const StepBatch batch = slab_batch(what);
  StepOnCpu state;
  state.result = pipeline.step(network.prepare(batch.image),
                               [&](const torch::Tensor& output, const BatchPart& part) {
                                 return batch_loss(network, *loss, batch, output, part);
                               });
  for (const auto& item : network.chain->named_parameters())
    state.gradients[item.key()] = item.value().grad();
  for (const auto& item : network.chain->named_buffers()) state.buffers[item.key()] = item.value();
  return state;
}

PipelineOptions on_cpus(std::size_t workers, int slabs) {
  return {.devices = std::vector<c10::Device>(workers, c10::kCPU), .slabs = slabs};
}

double relative_norm(const torch::Tensor& actual, const torch::Tensor& expected) {
  const torch::Tensor wanted = expected.to(torch::kFloat64);
  const double scale = wanted.norm().item<double>();
  return (actual.to(torch::kFloat64) - wanted).norm().item<double>() / (scale > 0 ? scale : 1);
}

void expect_same_step(const StepOnCpu& actual, const StepOnCpu& expected, double bound) {
  EXPECT_NEAR(actual.result.loss, expected.result.loss, bound * std::abs(expected.result.loss));
  // A gradient that vanishes but for rounding, as that of a bias before a norm, has no relative
  // error: it is held against the largest.
  double largest = 0;
  for (const auto& [name, gradient] : expected.gradients)
    largest = std::max(largest, gradient.norm().item<double>());
  for (const auto& [name, gradient] : expected.gradients) {
    ASSERT_TRUE(actual.gradients.at(name).defined()) << name;
    if (gradient.norm().item<double>() < bound * largest)
      EXPECT_LT(actual.gradients.at(name).norm().item<double>(), 10 * bound * largest) << name;
    else
      EXPECT_LT(relative_norm(actual.gradients.at(name), gradient), bound) << name;
  }
  for (const auto& [name, buffer] : expected.buffers)
    EXPECT_LT(relative_norm(actual.buffers.at(name), buffer), bound) << name;
}

const std::vector<NetConfig>& every_net() {
  static const std::vector<NetConfig> kNets = {
      {.name = "unet", .width = 4, .depth = 2, .classes = 3},
      {.name = "seunet", .width = 4, .depth = 2, .classes = 3},
      {.name = "anatomynet", .in_channels = 2, .classes = 3}};
  return kNets;
}

TEST(SlabStepTest, IsTheStepOnWholeVolumes) {
  for (const NetConfig& net : every_net())
    for (const torch::Dtype dtype : {torch::kFloat64, torch::kFloat32}) {
      const SlabCase what{.net = net, .size = {40, 12, 9}, .dtype = dtype};
      const StepOnCpu whole = step_of(what, on_cpus(1, 1));
      for (const int slabs : {2, 3, 5}) {
        SCOPED_TRACE(net.name + " " + std::to_string(slabs));
        expect_same_step(step_of(what, on_cpus(static_cast<std::size_t>(slabs), slabs)), whole,
                         dtype == torch::kFloat64 ? 1e-12 : 1e-5);
      }
    }
}

TEST(SlabStepTest, HoldsForUpToEightSlabsAndAnyAxis) {
  for (const NetConfig& net : every_net())
    for (std::size_t axis = 0; axis < 3; ++axis) {
      SlabCase what{.net = net, .size = {8, 8, 8}, .channels_last = axis != 1};
      what.size[axis] = 61;
      const StepOnCpu whole = step_of(what, on_cpus(1, 1));
      for (const int slabs : {4, 7, 8}) {
        SCOPED_TRACE(net.name + " " + std::to_string(slabs) + " along " + std::to_string(axis));
        expect_same_step(step_of(what, on_cpus(static_cast<std::size_t>(slabs), slabs)), whole,
                         1e-12);
      }
    }
}

TEST(SlabStepTest, SlabsMayBeUneven) {
  Random random{11};
  for (int trial = 0; trial < 12; ++trial) {
    const SlabCase what{.net = every_net()[static_cast<std::size_t>(trial % 3)],
                        .size = {48, 9, 10}};
    PipelineOptions options = on_cpus(3, 3);
    options.slab_shares = {random.uniform(1, 2), random.uniform(1, 2), random.uniform(1, 2)};
    expect_same_step(step_of(what, options), step_of(what, on_cpus(1, 1)), 1e-12);
  }
}

TEST(SlabStepTest, WithStagesSchedulesAndRecomputation) {
  for (const NetConfig& net : every_net()) {
    const SlabCase what{.net = net, .size = {24, 8, 8}, .samples = 3};
    for (const ScheduleKind schedule : testing::kEverySchedule)
      for (const RecomputeRule rule : testing::kEveryRule) {
        PipelineOptions plain{.schedule = schedule, .microbatches = 2, .recompute = {rule}};
        PipelineOptions grid = on_cpus(4, 2);
        grid.schedule = schedule;
        grid.microbatches = 2;
        grid.recompute = {rule, rule};
        SCOPED_TRACE(net.name + " " + to_string(schedule) + " " + to_string(rule));
        expect_same_step(step_of(what, grid), step_of(what, plain), 1e-12);
      }
  }
}

TEST(SlabStepTest, EveryLossIsTheVolumes) {
  for (const char* name :
       {"lamp", "anatomynet", "dice", "cross_entropy", "dice_cross_entropy", "dice_boundary"}) {
    // 33 planes of 36: the last slab of six has no voxel of the scan.
    const SlabCase what{
        .size = {33, 8, 8}, .samples = 2, .loss = parse_loss_config({{"name", name}})};
    SCOPED_TRACE(name);
    for (const int slabs : {2, 9})
      expect_same_step(step_of(what, on_cpus(static_cast<std::size_t>(slabs), slabs)),
                       step_of(what, on_cpus(1, 1)), 1e-12);
  }
}

TEST(SlabStepTest, DeferredStatisticsAreThoseOfTheBatch) {
  const SlabCase what{.size = {24, 8, 8}, .samples = 3};
  PipelineOptions whole{.microbatches = 3, .deferred_batch_norm = true};
  PipelineOptions slabs = on_cpus(2, 2);
  slabs.microbatches = 3;
  slabs.deferred_batch_norm = true;
  expect_same_step(step_of(what, slabs), step_of(what, whole), 1e-12);
}

TEST(SlabStepTest, RepeatsItsBits) {
  for (const NetConfig& net : every_net()) {
    const SlabCase what{.net = net, .size = {40, 12, 9}, .dtype = torch::kFloat32};
    const StepOnCpu first = step_of(what, on_cpus(3, 3));
    for (int again = 0; again < 3; ++again) {
      const StepOnCpu next = step_of(what, on_cpus(3, 3));
      EXPECT_EQ(first.result.loss, next.result.loss);
      for (const auto& [name, gradient] : first.gradients)
        EXPECT_TRUE(torch::equal(gradient, next.gradients.at(name))) << name;
    }
  }
}

TEST(SlabStepTest, MoreSlabsThanTheCoarsestLevelHasPlanesAreRefused) {
  try {
    step_of({.size = {16, 8, 8}}, on_cpus(5, 5));
    FAIL() << "two planes for five slabs";
  } catch (const UsageError& error) {
    EXPECT_NE(std::string(error.what()).find("2 planes"), std::string::npos) << error.what();
    EXPECT_NE(std::string(error.what()).find("expected 2 slabs or fewer"), std::string::npos)
        << error.what();
  }
}

}  // namespace
}  // namespace lamp
