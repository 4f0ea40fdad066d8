// A step on slabs of each volume is the step on whole volumes: loss, gradients of every parameter
// and running statistics, to what rounding allows.
#include <gtest/gtest.h>
#include <torch/nn/modules/batchnorm.h>
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

// Norms that shift: with the biases of 0 that they start from, means over a volume behind them are
// rounding alone.
void shift_norms(Network& network) {
  const torch::NoGradGuard no_gradients;
  torch::manual_seed(3);
  for (const auto& module : network.chain->modules())
    if (auto* norm = module->as<torch::nn::BatchNorm3d>()) norm->bias.normal_();
}

StepOnCpu step_of(const SlabCase& what, PipelineOptions options) {
  Network network = make_network(what.net);
  network.initialise(1);
  shift_norms(network);
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

PipelineOptions on_cpus(int workers, int slabs) {
  return {.devices = std::vector<c10::Device>(static_cast<std::size_t>(workers), c10::kCPU),
          .slabs = slabs};
}

double relative_norm(const torch::Tensor& actual, const torch::Tensor& expected) {
  const torch::Tensor wanted = expected.to(torch::kFloat64);
  const double scale = wanted.norm().item<double>();
  return (actual.to(torch::kFloat64) - wanted).norm().item<double>() / (scale > 0 ? scale : 1);
}

double loss_error(const StepOnCpu& actual, const StepOnCpu& expected) {
  return std::abs(actual.result.loss - expected.result.loss) / std::abs(expected.result.loss);
}

double largest_gradient(const StepOnCpu& step) {
  double largest = 0;
  for (const auto& [name, gradient] : step.gradients)
    largest = std::max(largest, gradient.norm().item<double>());
  return largest;
}

struct WholeStep {
  WholeStep(SlabCase of, const PipelineOptions& plain)
      : what(std::move(of)), step(step_of(what, plain)) {
    if (what.dtype == torch::kFloat64) return;
    SlabCase exact = what;
    exact.dtype = torch::kFloat64;
    for (const auto& [name, gradient] : step_of(exact, plain).gradients)
      rounding[name] = relative_norm(step.gradients.at(name), gradient);
  }
  SlabCase what;
  StepOnCpu step;
  std::map<std::string, double> rounding;  // of the step itself, against fp64, in fp32
};

// Each parameter's gradient by itself. Some are nothing but rounding, such as that of a bias which
// a norm takes away again: they must vanish as well. Others are small differences of large sums,
// where fp32 on one device is off by more than half of the bound: there slabs may be as far off on
// the other side.
void expect_step_of_slabs(const WholeStep& whole, const PipelineOptions& slabs, double bound) {
  const StepOnCpu actual = step_of(whole.what, slabs);
  EXPECT_LT(loss_error(actual, whole.step), bound);
  const double vanishing = bound * largest_gradient(whole.step);
  for (const auto& [name, gradient] : whole.step.gradients) {
    ASSERT_TRUE(actual.gradients.at(name).defined()) << name;
    if (gradient.norm().item<double>() < vanishing)
      EXPECT_LT(actual.gradients.at(name).norm().item<double>(), 2 * vanishing) << name;
    else
      EXPECT_LT(relative_norm(actual.gradients.at(name), gradient),
                std::max(bound, whole.rounding.empty() ? 0 : 2 * whole.rounding.at(name)))
          << name;
  }
  for (const auto& [name, buffer] : whole.step.buffers)
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
      const WholeStep whole({.net = net, .size = {40, 12, 9}, .dtype = dtype}, {});
      for (const int slabs : {2, 3, 5}) {
        SCOPED_TRACE(net.name + " " + std::to_string(slabs));
        expect_step_of_slabs(whole, on_cpus(slabs, slabs), dtype == torch::kFloat64 ? 1e-12 : 1e-5);
      }
    }
}

TEST(SlabStepTest, HoldsForUpToEightSlabsAndAnyAxis) {
  for (const NetConfig& net : every_net())
    for (std::size_t axis = 0; axis < 3; ++axis) {
      SlabCase what{.net = net, .size = {8, 8, 8}, .channels_last = axis != 1};
      what.size[axis] = 61;
      const WholeStep whole(what, {});
      for (const int slabs : {4, 7, 8}) {
        SCOPED_TRACE(net.name + " " + std::to_string(slabs) + " along " + std::to_string(axis));
        expect_step_of_slabs(whole, on_cpus(slabs, slabs), 1e-12);
      }
    }
}

TEST(SlabStepTest, SlabsMayBeUneven) {
  Random random{11};
  for (const NetConfig& net : every_net()) {
    const WholeStep whole({.net = net, .size = {48, 9, 10}}, {});
    for (int trial = 0; trial < 3; ++trial) {
      PipelineOptions options = on_cpus(3, 3);
      options.slab_shares = {random.uniform(1, 2), random.uniform(1, 2), random.uniform(1, 2)};
      expect_step_of_slabs(whole, options, 1e-12);
    }
  }
}

TEST(SlabStepTest, WithStagesSchedulesAndRecomputation) {
  for (const NetConfig& net : every_net()) {
    const WholeStep whole({.net = net, .size = {24, 8, 8}, .samples = 3}, {.microbatches = 2});
    for (const ScheduleKind schedule : testing::kEverySchedule)
      for (const RecomputeRule rule : testing::kEveryRule) {
        PipelineOptions grid = on_cpus(4, 2);
        grid.schedule = schedule;
        grid.microbatches = 2;
        grid.recompute = {rule, rule};
        SCOPED_TRACE(net.name + " " + to_string(schedule) + " " + to_string(rule));
        expect_step_of_slabs(whole, grid, 1e-12);
      }
  }
}

TEST(SlabStepTest, EveryLossIsTheVolumes) {
  PipelineOptions even = on_cpus(3, 3), uneven = on_cpus(2, 2);
  uneven.slab_shares = {35, 5};  // of 40 planes, of which the scan has 33: none in the last slab
  for (const char* name :
       {"lamp", "anatomynet", "dice", "cross_entropy", "dice_cross_entropy", "dice_boundary"}) {
    SCOPED_TRACE(name);
    const WholeStep whole(
        {.size = {33, 8, 8}, .samples = 2, .loss = parse_loss_config({{"name", name}})}, {});
    for (const PipelineOptions& options : {even, uneven})
      expect_step_of_slabs(whole, options, 1e-12);
  }
}

TEST(SlabStepTest, DeferredStatisticsAreThoseOfTheBatch) {
  PipelineOptions slabs = on_cpus(2, 2);
  slabs.microbatches = 3;
  slabs.deferred_batch_norm = true;
  expect_step_of_slabs(
      {{.size = {24, 8, 8}, .samples = 3}, {.microbatches = 3, .deferred_batch_norm = true}}, slabs,
      1e-12);
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
