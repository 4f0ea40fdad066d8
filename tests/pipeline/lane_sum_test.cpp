// A step over several lanes (slabs, replicas) leaves the sum of what each lane alone would leave,
// lane after lane, to the last bit; a step that fails leaves what was there before.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/nn/modules/conv.h>
#include <torch/types.h>
#include <torch/utils.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "lamp/nets/blocks.h"
#include "lamp/pipeline/pipeline.h"
#include "lamp/sequence/slab_group.h"
#include "support/every_schedule.h"

namespace lamp {
namespace {

using LaneGradients = std::vector<torch::Tensor>;
using MakeChain = std::function<std::shared_ptr<Sequence>()>;
using Countdown = std::shared_ptr<std::atomic<int>>;

// [N, 3, ...], voxel by voxel. A shy one leaves its weight alone where the first value is negative;
// like: whose parameters it shares.
class VoxelScale : public Layer {
 public:
  explicit VoxelScale(bool shy = false, const VoxelScale* like = nullptr) : shy_(shy) {
    const auto random = [] { return torch::randn({1, 3, 1, 1, 1}); };
    weight_ = register_parameter("weight", like == nullptr ? random() : like->weight_);
    bias_ = register_parameter("bias", like == nullptr ? random() : like->bias_);
  }
  torch::Tensor forward(torch::Tensor input, SkipPort&) override {
    const bool uses = !shy_ || input.flatten()[0].item<double>() >= 0;
    return ((uses ? input * weight_ : input) + bias_).tanh();
  }
  std::optional<PlaneRule> plane_rule(std::int64_t) const override { return PlaneRule{}; }

 private:
  bool shy_;
  torch::Tensor weight_, bias_;
};

// Its backward throws once, when it has been called `left` times; null = never.
class BackwardFault : public Layer {
 public:
  explicit BackwardFault(Countdown left) : left_(std::move(left)) {}
  torch::Tensor forward(torch::Tensor input, SkipPort&) override {
    torch::Tensor output = input * 1;
    if (left_ == nullptr || !output.requires_grad()) return output;
    output.register_hook([left = left_](const torch::Tensor& gradient) {
      if (--*left == 0) {
        std::this_thread::sleep_for(std::chrono::milliseconds(5));  // others go on meanwhile
        throw std::runtime_error("injected fault");
      }
      return gradient;
    });
    return output;
  }

 private:
  Countdown left_;
};

std::shared_ptr<Sequence> in_double(Links links) {
  auto chain = std::make_shared<Sequence>(std::move(links));
  chain->to(torch::kFloat64);
  return chain;
}

// Convolutions whose weights' gradients can be put off, one of torch's that cannot, and norms.
std::shared_ptr<Sequence> convolutions(const Countdown& fault = nullptr) {
  torch::manual_seed(4);
  return in_double({conv_link("first", {.in = 3, .out = 3, .bias = true}),
                    norm_activation_link("norm", 3),
                    {"fault", std::make_shared<BackwardFault>(fault)},
                    conv_link("middle", {.in = 3, .out = 5, .kernel = 1}),
                    norm_activation_link("again", 5),
                    {"torch", as_layer(torch::nn::Conv3d(torch::nn::Conv3dOptions(5, 3, 1)))},
                    conv_link("last", {.in = 3, .out = 3, .bias = true})});
}

std::shared_ptr<Sequence> voxel_scales() {
  torch::manual_seed(5);
  return in_double({{"a", std::make_shared<VoxelScale>()},
                    {"b", std::make_shared<VoxelScale>()},
                    {"c", std::make_shared<VoxelScale>()}});
}

// Two layers with one weight.
std::shared_ptr<Sequence> one_twice(const Countdown& fault = nullptr) {
  torch::manual_seed(9);
  const auto one = std::make_shared<VoxelScale>();
  return in_double({{"one", one},
                    {"fault", std::make_shared<BackwardFault>(fault)},
                    {"tanh", as_layer([](torch::Tensor x) { return x.tanh(); })},
                    {"two", std::make_shared<VoxelScale>(false, one.get())}});
}

torch::Tensor lane_batch(std::int64_t samples, std::int64_t planes = 4) {
  torch::manual_seed(6);
  return torch::randn({samples, 3, planes, 4, 2}, torch::kFloat64);
}

// A mean over samples of sums over the whole volumes.
torch::Tensor lane_loss(const torch::Tensor& output, const BatchPart& part) {
  const torch::Tensor own = output.square().flatten(1).sum(1).mean();
  if (part.slabs == nullptr) return own;
  return own + (sum_over_slabs(*part.slabs, own.detach()) - own.detach());
}

struct LaneCase {
  int replicas = 1;
  int slabs = 1;
  int stages = 1;
  int microbatches = 1;
  ScheduleKind schedule = ScheduleKind::kGPipe;
  RecomputeRule rule = RecomputeRule::kNever;
};

PipelineOptions options_of(const LaneCase& what, MakeChain make_chain) {
  const auto workers = static_cast<std::size_t>(what.replicas * what.slabs * what.stages);
  return {.devices = std::vector<c10::Device>(workers, c10::kCPU),
          .replicas = what.replicas,
          .slabs = what.slabs,
          .make_chain = std::move(make_chain),
          .schedule = what.schedule,
          .microbatches = what.microbatches,
          .recompute = std::vector(static_cast<std::size_t>(what.stages), what.rule),
          .threads_per_stage = 1};
}

LaneGradients gradients_there(const Sequence& chain) {
  LaneGradients gradients;
  for (const auto& parameter : chain.parameters())
    gradients.push_back(parameter.grad().defined() ? parameter.grad().clone() : torch::Tensor());
  return gradients;
}

LaneGradients taken(Sequence& chain) {
  LaneGradients gradients = gradients_there(chain);
  for (auto& parameter : chain.parameters()) parameter.mutable_grad().reset();
  return gradients;
}

// Of each lane, from a pipeline that has only its data. Samples are a multiple of the replicas, a
// replica's micro-batches are alike and a power of two, or the replicas are: then the shares of the
// batch are the same bits.
std::vector<LaneGradients> lane_after_lane(const std::shared_ptr<Sequence>& chain, LaneCase what,
                                           const torch::Tensor& batch) {
  const std::int64_t replicas = std::min<std::int64_t>(what.replicas, batch.size(0));
  const std::int64_t samples = batch.size(0) / replicas, planes = batch.size(2) / what.slabs;
  const int slabs = std::exchange(what.slabs, 1);
  what.replicas = 1;
  what.microbatches = static_cast<int>(std::min<std::int64_t>(what.microbatches, samples));
  Pipeline alone(chain, options_of(what, nullptr));
  std::vector<LaneGradients> lanes;
  for (std::int64_t replica = 0; replica < replicas; ++replica)
    for (int slab = 0; slab < slabs; ++slab) {
      const torch::Tensor part =
          batch.narrow(0, replica * samples, samples).narrow(2, slab * planes, planes);
      alone.step(part, lane_loss, {.gradient_scale = 1. / static_cast<double>(replicas)});
      lanes.push_back(taken(*chain));
    }
  return lanes;
}

LaneGradients added(const std::vector<LaneGradients>& lanes) {
  LaneGradients sum(lanes.front().size());
  for (const LaneGradients& lane : lanes)
    for (std::size_t i = 0; i < sum.size(); ++i)
      if (lane[i].defined()) sum[i] = sum[i].defined() ? sum[i] + lane[i] : lane[i].clone();
  return sum;
}

bool same_bits(const torch::Tensor& a, const torch::Tensor& b) {
  return a.defined() == b.defined() && (!a.defined() || torch::equal(a, b));
}

void expect_same_bits(const LaneGradients& found, const LaneGradients& expected) {
  ASSERT_EQ(found.size(), expected.size());
  for (std::size_t i = 0; i < found.size(); ++i) EXPECT_TRUE(same_bits(found[i], expected[i])) << i;
}

std::string name_of(const LaneCase& what) {
  return c10::str(what.replicas, " replicas, ", what.stages, " stages, ", what.slabs, " slabs, ",
                  what.microbatches, " micro-batches, ", to_string(what.schedule), ", ",
                  to_string(what.rule));
}

void expect_sum_of_lanes(const LaneCase& what, const torch::Tensor& batch,
                         const MakeChain& make_chain) {
  SCOPED_TRACE(name_of(what));
  const auto chain = make_chain();
  Pipeline pipeline(chain, options_of(what, make_chain));
  pipeline.step(batch, lane_loss);
  const LaneGradients found = taken(*chain);
  expect_same_bits(found, added(lane_after_lane(chain, what, batch)));
}

TEST(LaneSumTest, OfReplicasForEveryScheduleAndRule) {
  const MakeChain chain = [] { return convolutions(); };
  for (const int replicas : {2, 3, 4})
    for (const ScheduleKind schedule : testing::kEverySchedule)
      for (const RecomputeRule rule : testing::kEveryRule)
        expect_sum_of_lanes({.replicas = replicas,
                             .stages = 2,
                             .microbatches = 2,
                             .schedule = schedule,
                             .rule = rule},
                            lane_batch(replicas * 2), chain);
  expect_sum_of_lanes({.replicas = 2, .microbatches = 3}, lane_batch(6), chain);
  expect_sum_of_lanes({.replicas = 4, .stages = 3, .microbatches = 1}, lane_batch(4), chain);
}

TEST(LaneSumTest, OfSlabsAndOfReplicasOfSlabs) {
  for (const int slabs : {2, 3, 4})
    for (const ScheduleKind schedule : testing::kEverySchedule)
      for (const RecomputeRule rule : testing::kEveryRule)
        expect_sum_of_lanes(
            {.slabs = slabs, .stages = 2, .microbatches = 2, .schedule = schedule, .rule = rule},
            lane_batch(2, 12), voxel_scales);
  expect_sum_of_lanes({.replicas = 2, .slabs = 2, .microbatches = 2}, lane_batch(4, 12),
                      voxel_scales);
}

// Or the tests above would pass in any order.
TEST(LaneSumTest, AnotherOrderHasOtherBits) {
  const LaneCase what{.replicas = 4};
  auto lanes = lane_after_lane(convolutions(), what, lane_batch(4));
  const LaneGradients sum = added(lanes);
  std::reverse(lanes.begin(), lanes.end());
  const LaneGradients reversed = added(lanes);
  EXPECT_FALSE(std::equal(sum.begin(), sum.end(), reversed.begin(), same_bits));
}

TEST(LaneSumTest, FrozenParametersHaveNoGradient) {
  const MakeChain frozen = [] {
    const auto chain = convolutions();
    for (const std::size_t link : {0, 4})
      for (auto& parameter : chain->layers()[link]->parameters())
        parameter.set_requires_grad(false);
    return chain;
  };
  for (const ScheduleKind schedule : testing::kEverySchedule) {
    LaneCase what{.replicas = 3, .stages = 2, .microbatches = 2, .schedule = schedule};
    expect_sum_of_lanes(what, lane_batch(6), frozen);
    const auto chain = convolutions();  // frozen only after the copies were made
    Pipeline pipeline(chain, options_of(what, [] { return convolutions(); }));
    for (auto& parameter : chain->layers()[0]->parameters()) parameter.set_requires_grad(false);
    pipeline.step(lane_batch(6), lane_loss);
    for (const auto& parameter : chain->layers()[0]->parameters())
      EXPECT_FALSE(parameter.grad().defined());
    EXPECT_TRUE(chain->layers().back()->parameters().front().grad().defined());
  }
}

TEST(LaneSumTest, AParameterMayBeUsedInSomeLanesOnly) {
  const MakeChain shy = [] {
    torch::manual_seed(8);
    return in_double(
        {{"shy", std::make_shared<VoxelScale>(true)}, {"b", std::make_shared<VoxelScale>()}});
  };
  for (const std::int64_t bold : {0, 1, 2, 3}) {  // 3: none is
    torch::Tensor batch = lane_batch(3).abs();
    for (std::int64_t sample = 0; sample < 3; ++sample)
      if (sample != bold) batch[sample].neg_();
    expect_sum_of_lanes({.replicas = 3}, batch, shy);
  }
}

TEST(LaneSumTest, LayersMayShareAParameter) {
  expect_sum_of_lanes({.replicas = 3, .microbatches = 2}, lane_batch(6),
                      [] { return one_twice(); });
}

// Weights change between steps, and so does the number of replicas that have samples.
TEST(LaneSumTest, StepAfterStepWithIdleReplicas) {
  for (const ScheduleKind schedule : {ScheduleKind::k1F1B, ScheduleKind::kZeroBubble}) {
    const LaneCase what{.replicas = 3, .stages = 2, .microbatches = 2, .schedule = schedule};
    const auto chain = convolutions();
    Pipeline pipeline(chain, options_of(what, [] { return convolutions(); }));
    for (const std::int64_t samples : {6, 2, 6, 1, 3, 6}) {
      SCOPED_TRACE(c10::str(samples, " samples, ", to_string(schedule)));
      const torch::Tensor batch = lane_batch(samples);
      pipeline.step(batch, lane_loss);
      const LaneGradients found = taken(*chain);
      expect_same_bits(found, added(lane_after_lane(chain, what, batch)));
      const torch::NoGradGuard no_gradients;
      for (auto& parameter : chain->parameters()) parameter.mul_(0.9);
    }
  }
}

// Gradients from before a step: of every parameter but the first.
LaneGradients give_gradients(Sequence& chain) {
  const auto parameters = chain.parameters();
  for (std::size_t i = 1; i < parameters.size(); ++i)
    parameters[i].mutable_grad() = torch::full_like(parameters[i], static_cast<double>(i));
  return gradients_there(chain);
}

// The last backward pass of the second replica throws half-way: behind the fault gradients have
// been handed over, before it none.
void expect_no_trace_of_failure(
    const LaneCase& what, const std::function<std::shared_ptr<Sequence>(const Countdown&)>& make) {
  SCOPED_TRACE(name_of(what));
  const auto left = std::make_shared<std::atomic<int>>(what.microbatches);
  const auto chain = make(nullptr);
  int made = 0;
  Pipeline pipeline(chain, options_of(what, [&] { return make(++made == 1 ? left : nullptr); }));
  const torch::Tensor batch = lane_batch(what.replicas * what.microbatches);
  const LaneGradients before = give_gradients(*chain);
  try {
    pipeline.step(batch, lane_loss);
    ADD_FAILURE() << "the fault was not met";
  } catch (const std::exception& error) {
    EXPECT_THAT(error.what(), ::testing::HasSubstr("injected fault"));
    EXPECT_THAT(error.what(), ::testing::HasSubstr("replica 1"));
  }
  expect_same_bits(gradients_there(*chain), before);
  pipeline.step(batch, lane_loss);
  const LaneGradients found = taken(*chain);
  expect_same_bits(found, added({before, added(lane_after_lane(chain, what, batch))}));
}

TEST(LaneSumTest, AFailureInTheLastBackwardPassLeavesEarlierGradients) {
  for (const ScheduleKind schedule : testing::kEverySchedule)
    for (const int microbatches : {1, 2}) {
      for (const int stages : {1, 2})
        expect_no_trace_of_failure(
            {.replicas = 3, .stages = stages, .microbatches = microbatches, .schedule = schedule},
            convolutions);
      expect_no_trace_of_failure(
          {.replicas = 3, .microbatches = microbatches, .schedule = schedule}, one_twice);
    }
}

}  // namespace
}  // namespace lamp
