// Measured and worked-out costs agree on bytes, and a plan's prediction with the run.
#include <ATen/Parallel.h>
#include <ATen/Version.h>
#include <gtest/gtest.h>
#include <torch/types.h>

#include <cstdlib>

#include "lamp/base/errors.h"
#include "lamp/base/log.h"
#include "lamp/execution/plan_choices.h"
#include "lamp/execution/plan_costs.h"
#include "lamp/execution/plan_json.h"
#include "lamp/nets/net_factory.h"
#include "lamp/profile/measured_costs.h"
#include "lamp/profile/shape_costs.h"
#include "lamp/training/bench.h"

namespace lamp {
namespace {

PlanOptions small_plan(const std::string& net) {
  PlanOptions options{.input = {32, 32, 32}, .batch = 2, .execution = {.device = "cpu"}};
  options.net = parse_net_config({{"name", net}, {"classes", 5}});
  if (net == "anatomynet") {
    options.input = {16, 16, 16};
  } else {
    options.net.width = 4;
    options.net.depth = 2;
  }
  return options;
}

class PlanRunTest : public ::testing::TestWithParam<std::string> {
 protected:
  PlanRunTest() {
    set_log_level(LogLevel::kWarning);
    at::set_num_threads(1);  // small_plan tensors gain nothing from more
  }
};

INSTANTIATE_TEST_SUITE_P(Networks, PlanRunTest, ::testing::Values("unet", "seunet", "anatomynet"));

TEST_P(PlanRunTest, MeasuredAndWorkedOutBytesAgree) {
  const PlanOptions options = small_plan(GetParam());
  const NetworkCosts measured = measured_costs_of(options)({.samples = 2});
  const NetworkCosts shapes = shape_costs_of(options, shapes_of(options))({.samples = 2});
  ASSERT_EQ(measured.layers.size(), shapes.layers.size());
  std::int64_t saved = 0, saved_by_shape = 0;
  for (std::size_t i = 0; i < measured.layers.size(); ++i) {
    const LayerCosts& a = measured.layers[i];
    const LayerCosts& b = shapes.layers[i];
    EXPECT_EQ(a.name, b.name);
    EXPECT_EQ(a.output_bytes, b.output_bytes) << a.name;
    EXPECT_EQ(a.parameter_bytes, b.parameter_bytes) << a.name;
    EXPECT_EQ(a.buffer_bytes, b.buffer_bytes) << a.name;
    EXPECT_EQ(a.drops_output, b.drops_output) << a.name;
    EXPECT_NEAR(static_cast<double>(b.saved_bytes), static_cast<double>(a.saved_bytes),
                0.03 * static_cast<double>(a.saved_bytes) + 1024)
        << a.name;
    saved += a.saved_bytes;
    saved_by_shape += b.saved_bytes;
  }
  EXPECT_NEAR(static_cast<double>(saved_by_shape) / static_cast<double>(saved), 1, 0.03);
  ASSERT_EQ(measured.skips.size(), shapes.skips.size());
  for (std::size_t i = 0; i < measured.skips.size(); ++i) {
    const SkipBytes &a = measured.skips[i], &b = shapes.skips[i];
    EXPECT_EQ(a.bytes, b.bytes) << a.name;
    EXPECT_EQ(a.gradient_bytes, b.gradient_bytes) << a.name;
    EXPECT_EQ(a.shares_gradient, b.shares_gradient) << a.name;
  }
  EXPECT_NEAR(static_cast<double>(shapes.loss_workspace_bytes) /
                  static_cast<double>(measured.loss_workspace_bytes),
              1, 0.03);
}

// A shortcut hands its input on and stashes what its strided convolution makes.
TEST(ShapeCostsTest, AShortcutsArithmeticIsThatOfItsOwnOutput) {
  const PlanOptions options = small_plan("seunet");
  const auto network = shapes_of(options);
  const Sequence& chain = *network->chain;
  const NetworkCosts costs = shape_costs(*network->chain, {2, 1, 32, 32, 32}, {.flops_per_s = 1e9});
  int found = 0;
  for (const SkipBytes& skip : costs.skips) {
    if (chain.names()[skip.from].find(".downsample") == std::string::npos) continue;
    for (const torch::Tensor& weight : chain.layers()[skip.from]->parameters()) {
      if (weight.dim() != 5) continue;
      const double voxels =
          static_cast<double>(skip.bytes) / 4 / static_cast<double>(weight.size(0));
      EXPECT_DOUBLE_EQ(costs.layers[skip.from].forward_s,
                       2 * voxels * static_cast<double>(weight.numel()) / 1e9)
          << skip.name;
      ++found;
    }
  }
  EXPECT_GT(found, 2);
}

// The costs are measured, the rest is the memory model's. Where stages overlap in time the peak
// depends on the moment, so these are settings where they hardly do.
TEST_P(PlanRunTest, ThePredictedPeakIsTheMeasuredOne) {
  PlanOptions options = small_plan(GetParam());
  options.input = {16, 16, 16};
  options.batch = 4;
  options.execution.microbatches = 2;
  const auto links = static_cast<std::int64_t>(make_network(options.net).chain->size());
  // AnatomyNet concatenates the image, which wants no gradient: its channel of the concatenation's
  // gradient is not counted. Without AVX-512, kernels take another workspace for its odd channels
  // in a step than alone; then the 3 % that are promised of any network hold.
  const double odd_channels = at::get_cpu_capability() == "AVX512" ? 0.01 : 0.03;
  const double tolerance = GetParam() == "anatomynet" ? odd_channels : 0.001;
  struct Setting {
    const char* devices;
    const char* schedule;
    const char* recompute;
  };
  for (const Setting& setting :
       {Setting{"cpu", "1f1b", "never"}, Setting{"cpu,cpu", "gpipe", "never"},
        Setting{"cpu,cpu", "naive", "always"}}) {
    options.execution.device = setting.devices;
    options.execution.schedule = setting.schedule;
    options.execution.recompute = setting.recompute;
    const bool is_cut = std::string(setting.devices) != "cpu";
    options.execution.partition = is_cut ? "counts" : "auto";
    options.execution.partition_counts = {links / 2, links - links / 2};
    const NetworkPlan chosen = choose_plan(options);
    const Plan& plan = chosen.plan;
    ASSERT_TRUE(plan.fits);
    const auto peak = static_cast<double>(measure_plan(chosen, 1).peak_bytes[0]);
    EXPECT_NEAR(static_cast<double>(plan.balance.peak_bytes[0]) / peak, 1, tolerance)
        << setting.devices << " " << setting.schedule << " " << setting.recompute;
  }
}

// Where the weights' gradients decide: at the bottleneck all skips' gradients wait, each as a part
// of its concatenation's.
TEST(PlanRunOptionsTest, ThePeakAtTheBottleneckIsTheMeasuredOne) {
  at::set_num_threads(1);
  PlanOptions options = small_plan("unet");
  options.net.width = 32;
  options.net.depth = 3;
  const NetworkPlan chosen = choose_plan(options);
  const auto peak = static_cast<double>(measure_plan(chosen, 1).peak_bytes[0]);
  EXPECT_NEAR(static_cast<double>(chosen.plan.balance.peak_bytes[0]) / peak, 1, 0.001);
}

// Where the loss decides: its graph alone keeps the logits, and cropping nothing copies nothing.
TEST(PlanRunOptionsTest, TheLossesPeakIsTheMeasuredOne) {
  at::set_num_threads(1);
  PlanOptions options = small_plan("unet");
  options.net.width = 8;
  options.net.classes = 10;
  options.batch = 8;
  options.execution.microbatches = 1;
  const NetworkPlan chosen = choose_plan(options);
  const Plan& plan = chosen.plan;
  const auto peak = static_cast<double>(measure_plan(chosen, 1).peak_bytes[0]);
  EXPECT_NEAR(static_cast<double>(plan.balance.peak_bytes[0]) / peak, 1, 0.001);
}

TEST(PlanRunOptionsTest, StagesAtWorkAtTheSameTimeHaveTheBytesOfOneAlone) {
  at::set_num_threads(2);
  PlanOptions options = small_plan("unet");
  options.execution.device = "cpu,cpu";
  const CostProvider costs = measured_costs_of(options);
  const NetworkCosts alone = costs({.samples = 2, .sharing = 2});
  const NetworkCosts beside = costs({.samples = 2, .sharing = 2, .overlap = 0.5});
  ASSERT_EQ(alone.layers.size(), beside.layers.size());
  bool differs = alone.loss_s != beside.loss_s;
  for (std::size_t i = 0; i < alone.layers.size(); ++i) {
    const LayerCosts &a = alone.layers[i], &b = beside.layers[i];
    EXPECT_EQ(a.saved_bytes, b.saved_bytes) << a.name;
    EXPECT_EQ(a.forward_workspace_bytes, b.forward_workspace_bytes) << a.name;
    EXPECT_EQ(a.backward_workspace_bytes, b.backward_workspace_bytes) << a.name;
    EXPECT_GT(b.forward_s, 0) << b.name;
    EXPECT_GE(b.backward_s, b.weight_s) << b.name;
    differs = differs || a.forward_s != b.forward_s;
  }
  EXPECT_EQ(alone.loss_workspace_bytes, beside.loss_workspace_bytes);
  EXPECT_TRUE(differs) << "the copies were not timed";
  EXPECT_EQ(at::get_num_threads(), 2);
}

// What the prediction in turn holds is not the step's.
TEST(PlanRunOptionsTest, IsPredictedInTurnWithEachRound) {
  at::set_num_threads(2);
  for (const char* device : {"cpu", "cpu,cpu"}) {
    PlanOptions options = small_plan("unet");
    options.input = {16, 16, 16};
    options.batch = 4;
    options.execution.device = device;
    options.execution.schedule = "naive";
    options.execution.microbatches = 2;
    const NetworkPlan chosen = choose_plan(options);
    const MeasuredStep measured = measure_plan(chosen, 3);
    EXPECT_EQ(measured.predicted_s.size(), 3U) << device;
    for (const double seconds : measured.predicted_s) EXPECT_GT(seconds, 0) << device;
    BenchOptions again{.net = options.net,
                       .input = options.input,
                       .batch = options.batch,
                       .execution = options.execution};
    again.execution.partition = "counts";
    for (const StageRange& stage : chosen.plan.balance.partition)
      again.execution.partition_counts.push_back(
          static_cast<std::int64_t>(stage.last - stage.first));
    again.execution.recompute = to_string(chosen.plan.balance.recompute.front());
    again.execution.precision = chosen.options.execution.precision;
    again.execution.layout = chosen.options.execution.layout;
    EXPECT_EQ(measured.peak_bytes, measure_step(again).peak_bytes) << device;
  }
}

TEST(MeasuredCostsTest, LeaveTheChainAsItWas) {
  at::set_num_threads(1);
  Network network = make_network(small_plan("unet").net);
  network.initialise(1);
  network.chain->train();
  std::vector<torch::Tensor> before;
  for (const torch::Tensor& buffer : network.chain->buffers()) before.push_back(buffer.clone());
  const NetworkCosts costs =
      measure_costs(*network.chain, network.prepare(torch::randn({2, 1, 16, 16, 16})));
  ASSERT_EQ(costs.layers.size(), network.chain->size());
  double seconds = 0;
  for (const LayerCosts& layer : costs.layers) {
    seconds += layer.forward_s + layer.backward_s;
    EXPECT_GT(layer.output_bytes, 0) << layer.name;
  }
  EXPECT_GT(seconds, 0);
  const auto after = network.chain->buffers();
  for (std::size_t i = 0; i < before.size(); ++i) EXPECT_TRUE(torch::equal(after[i], before[i]));
  for (const torch::Tensor& parameter : network.chain->parameters())
    EXPECT_FALSE(parameter.grad().defined());
}

TEST(PlanRunOptionsTest, ThePlansSettingsAreRunAsTheyAre) {
  at::set_num_threads(1);
  PlanOptions options = small_plan("unet");
  options.execution.device = "cpu,cpu";
  options.execution.schedule = "auto";
  options.batch = 4;
  const NetworkPlan chosen = choose_plan(options);
  const Plan& plan = chosen.plan;
  const ResolvedExecution again = parse_resolved_execution(to_json(chosen), "the plan's own text");
  EXPECT_EQ(to_json(again), to_json(chosen.execution));
  const Json measured = measure_plan(chosen, 1).report;
  EXPECT_EQ(measured["microbatches"], plan.setup.microbatches);
  EXPECT_EQ(measured["schedule"], to_string(plan.setup.schedule));
  for (std::size_t j = 0; j < 2; ++j)
    EXPECT_EQ(measured["partition"][j]["first"], plan.balance.partition[j].first);
}

}  // namespace
}  // namespace lamp
