// The three networks through the pipeline, against one graph on one device.
#include <gtest/gtest.h>
#include <torch/types.h>
#include <torch/utils.h>

#include <string>
#include <tuple>

#include "lamp/nets/net_factory.h"
#include "lamp/nets/precision.h"
#include "lamp/pipeline/pipeline.h"
#include "support/devices.h"
#include "support/random_chain.h"

namespace lamp {
namespace {

using namespace lamp::testing;  // NOLINT: the test's own support

torch::Tensor net_loss(const torch::Tensor& output, const MicroBatch&) {
  return output.square().flatten(1).mean(1).mean();
}

Network small_network(const std::string& name, at::ScalarType dtype) {
  Network network = make_network({.name = name,
                                  .width = name == "anatomynet" ? 28 : 4,
                                  .depth = name == "anatomynet" ? 1 : 2,
                                  .classes = 3});
  network.initialise(1);
  network.chain->to(dtype);
  return network;
}

struct NetOutcome {
  double loss;
  std::vector<torch::Tensor> gradients, buffers;
  torch::Tensor input_gradient;
};

void expect_close(const NetOutcome& found, const NetOutcome& expected, double tolerance) {
  EXPECT_NEAR(found.loss, expected.loss, tolerance * std::abs(expected.loss));
  EXPECT_LE(difference(found.buffers, expected.buffers), tolerance * 10);
  ASSERT_EQ(found.gradients.size(), expected.gradients.size());
  for (std::size_t i = 0; i < expected.gradients.size(); ++i) {
    const double norm = expected.gradients[i].norm().item().toDouble();
    EXPECT_LE((found.gradients[i].cpu() - expected.gradients[i].cpu()).norm().item().toDouble(),
              tolerance * std::max(norm, 1e-3));
  }
  EXPECT_TRUE(torch::allclose(found.input_gradient, expected.input_gradient, tolerance, tolerance));
}

// Network and device. On a GPU every other stage is the CPU's.
class PipelineNetsTest : public ::testing::TestWithParam<std::tuple<std::string, std::string>> {
 protected:
  // As many as each stage has: another number makes other sums, which fp32 tells apart.
  PipelineNetsTest() { at::set_num_threads(1); }
  void SetUp() override {
    if (const auto why = reason_to_skip(std::get<1>(GetParam())); !why.empty()) GTEST_SKIP() << why;
  }
  static std::string name() { return std::get<0>(GetParam()); }
  static c10::Device device() { return parse_devices(std::get<1>(GetParam())).front(); }
  static double tolerance(double cpu, double gpu) { return tolerance_on(device(), cpu, gpu); }

  NetOutcome plain(int microbatches) {
    network_.chain->to(device());  // from its stages
    const auto before = copy_buffers(*network_.chain);
    const PlainResult result = plain_step(*network_.chain, batch_, microbatches, net_loss);
    return collect(result.loss, result.input_gradient, before);
  }
  NetOutcome pipelined(const PipelineOptions& options) {
    const auto before = copy_buffers(*network_.chain);
    Pipeline pipeline(network_.chain, options);
    const StepResult result = pipeline.step(batch_, net_loss);
    return collect(result.loss, result.input_gradient, before);
  }
  void start(at::ScalarType dtype) {
    network_ = small_network(name(), dtype);
    network_.chain->to(device());
    torch::manual_seed(2);
    batch_ = torch::randn({3, 1, 8, 16, 8}, dtype).to(device()).requires_grad_();
  }
  static PipelineOptions options(int stages, int microbatches, ScheduleKind kind) {
    std::vector<c10::Device> devices(static_cast<std::size_t>(stages), c10::kCPU);
    for (std::size_t j = 0; j < devices.size(); j += 2) devices[j] = device();
    return {
        .devices = devices, .schedule = kind, .microbatches = microbatches, .threads_per_stage = 1};
  }

  Network network_;
  torch::Tensor batch_;

 private:
  NetOutcome collect(double loss, torch::Tensor input_gradient,
                     const std::vector<torch::Tensor>& before) {
    NetOutcome outcome{loss, take_gradients(*network_.chain), copy_buffers(*network_.chain),
                       std::move(input_gradient)};
    set_buffers(*network_.chain, before);
    return outcome;
  }
};

TEST_P(PipelineNetsTest, EqualsThePlainRunInDouble) {
  start(torch::kFloat64);
  for (const int microbatches : {1, 2, 3}) {
    const NetOutcome expected = plain(microbatches);
    for (int stages = 1; stages <= 6; ++stages) {
      for (const ScheduleKind kind : {ScheduleKind::kGPipe, ScheduleKind::kZeroBubble}) {
        PipelineOptions how = options(stages, microbatches, kind);
        how.recompute.assign(static_cast<std::size_t>(stages),
                             static_cast<RecomputeRule>((stages + microbatches) % 3));
        SCOPED_TRACE(c10::str("K ", stages, " M ", microbatches, " ", to_string(kind)));
        expect_close(pipelined(how), expected, tolerance(1e-12, 1e-9));
      }
    }
  }
}

// Batches that M does not divide, or that have fewer samples; every schedule and rule in turn.
TEST_P(PipelineNetsTest, EqualsThePlainRunForUnevenMicroBatches) {
  start(torch::kFloat64);
  torch::manual_seed(3);
  batch_ = torch::randn({7, 1, 8, 16, 8}, torch::kFloat64).to(device()).requires_grad_();
  for (int microbatches = 1; microbatches <= 8; ++microbatches) {
    const NetOutcome expected = plain(microbatches);
    const int stages = 1 + 5 * microbatches % 6;
    for (int kind = 0; kind < 4; ++kind) {
      PipelineOptions how = options(stages, microbatches, static_cast<ScheduleKind>(kind));
      how.recompute.assign(static_cast<std::size_t>(stages),
                           static_cast<RecomputeRule>((kind + microbatches) % 3));
      SCOPED_TRACE(c10::str("K ", stages, " M ", microbatches, " ", to_string(how.schedule)));
      expect_close(pipelined(how), expected, tolerance(1e-12, 1e-9));
    }
  }
}

TEST_P(PipelineNetsTest, EqualsThePlainRunInFp32) {
  start(torch::kFloat32);
  network_.use_channels_last();
  const NetOutcome expected = plain(3);
  for (const int stages : {2, 4})
    expect_close(pipelined(options(stages, 3, ScheduleKind::k1F1B)), expected,
                 tolerance(1e-5, 1e-3));
}

// What only the CPU's kernels promise.
class PipelineNetsBitsTest : public PipelineNetsTest {};

// At sizes where the kernels' choice of memory layout differs from link to link.
TEST_P(PipelineNetsBitsTest, EveryCutGivesTheBitsOfOneStage) {
  start(torch::kFloat32);
  network_ = make_network({.name = name(),
                           .width = name() == "anatomynet" ? 28 : 16,
                           .depth = name() == "anatomynet" ? 1 : 3,
                           .classes = 3});
  network_.initialise(1);
  network_.use_channels_last();
  const std::int64_t side = name() == "anatomynet" ? 16 : 48;
  batch_ = network_.prepare(torch::randn({2, 1, side, side, side})).requires_grad_();
  const NetOutcome whole = pipelined(options(1, 1, ScheduleKind::kGPipe));
  const auto links = static_cast<std::int64_t>(network_.chain->size());
  for (std::int64_t cut = 1; cut < links; ++cut) {
    PipelineOptions how = options(2, 1, ScheduleKind::kGPipe);
    how.partition = partition_by_counts({cut, links - cut}, network_.chain->size());
    const NetOutcome found = pipelined(how);
    EXPECT_EQ(difference(found.gradients, whole.gradients), 0) << "cut " << cut;
    EXPECT_EQ(difference({found.input_gradient}, {whole.input_gradient}), 0) << "cut " << cut;
  }
}

TEST_P(PipelineNetsBitsTest, WeightHalvesGiveTheBitsOfTheWholeBackward) {
  start(torch::kFloat32);
  network_.use_channels_last();
  const NetOutcome whole = pipelined(options(1, 3, ScheduleKind::kGPipe));
  const NetOutcome halves = pipelined(options(3, 3, ScheduleKind::kZeroBubble));
  EXPECT_EQ(difference(halves.gradients, whole.gradients), 0);
}

TEST_P(PipelineNetsBitsTest, Bf16EqualsThePlainRunInBf16UnderRecomputation) {
  start(torch::kFloat32);
  network_.use_channels_last();
  const PrecisionScope scope(Precision::kBf16, c10::kCPU);
  const auto run = [&](int stages, RecomputeRule rule) {
    PipelineOptions how = options(stages, 3, ScheduleKind::kGPipe);
    how.recompute.assign(static_cast<std::size_t>(stages), rule);
    return pipelined(how);
  };
  const NetOutcome kept = run(1, RecomputeRule::kNever);
  const NetOutcome again = run(3, RecomputeRule::kAlways);
  EXPECT_EQ(difference(again.gradients, kept.gradients), 0);
  EXPECT_EQ(again.loss, kept.loss);
}

std::string case_name(const ::testing::TestParamInfo<PipelineNetsTest::ParamType>& info) {
  return std::get<0>(info.param) + "_" + std::get<1>(info.param);
}
const auto kNetworks = ::testing::Values("unet", "seunet", "anatomynet");
INSTANTIATE_TEST_SUITE_P(Networks, PipelineNetsTest,
                         ::testing::Combine(kNetworks, ::testing::ValuesIn(devices_to_test())),
                         case_name);
INSTANTIATE_TEST_SUITE_P(Networks, PipelineNetsBitsTest,
                         ::testing::Combine(kNetworks, ::testing::Values("cpu")), case_name);

}  // namespace
}  // namespace lamp
