// Deferred batch norm has the running statistics of the whole batch, however it is split.
#include <gtest/gtest.h>
#include <torch/nn/modules/batchnorm.h>
#include <torch/types.h>
#include <torch/utils.h>

#include "lamp/pipeline/pipeline.h"
#include "support/every_schedule.h"
#include "support/random_chain.h"

namespace lamp {
namespace {

using namespace lamp::testing;  // NOLINT: the test's own support

std::shared_ptr<Sequence> norm_chain(double momentum = 0.1) {
  auto norm = DeferrableBatchNorm3d(torch::nn::BatchNorm3dOptions(kChannels).momentum(momentum));
  auto chain = std::make_shared<Sequence>(std::vector<Link>{
      {"norm", as_layer(norm)}, {"tanh", as_layer([](torch::Tensor x) { return x.tanh(); })}});
  chain->to(torch::kFloat64);
  return chain;
}

void expect_statistics_of_the_whole_batch(const torch::Tensor& batch, int microbatches,
                                          RecomputeRule rule, int steps = 1) {
  const auto whole = norm_chain(), split = norm_chain();
  Pipeline pipeline(split, {.devices = {c10::kCPU, c10::kCPU},
                            .microbatches = microbatches,
                            .recompute = {rule, rule},
                            .deferred_batch_norm = true});
  for (int step = 0; step < steps; ++step) {
    whole->forward(batch.detach());
    pipeline.step(batch.detach(), mean_square);
  }
  const auto expected = whole->buffers(), found = split->buffers();
  for (std::size_t i = 0; i < expected.size(); ++i)
    EXPECT_TRUE(torch::allclose(found[i], expected[i], 1e-10, 1e-12)) << found[i] << expected[i];
}

TEST(DeferredBatchNormTest, RunningStatisticsAreThoseOfTheWholeBatch) {
  for (const RecomputeRule rule : kEveryRule)
    expect_statistics_of_the_whole_batch(random_batch(7, 1) * 3 + 2, 3, rule);
}

TEST(DeferredBatchNormTest, ABatchOfFewerSamplesThanMicroBatchesCommitsEveryStep) {
  expect_statistics_of_the_whole_batch(random_batch(1, 2) + 3, 4, RecomputeRule::kNever, 4);
}

TEST(DeferredBatchNormTest, LargeMeansDoNotCancel) {
  expect_statistics_of_the_whole_batch(random_batch(6, 3) + 3000, 3, RecomputeRule::kAlways);
}

TEST(DeferredBatchNormTest, WithoutItEveryMicroBatchUpdatesOnce) {
  for (const RecomputeRule rule : kEveryRule) {
    const auto plain = norm_chain(), split = norm_chain();
    const torch::Tensor batch = random_batch(6, 4);
    plain_step(*plain, batch, 3, mean_square);
    Pipeline pipeline(
        split, {.devices = {c10::kCPU, c10::kCPU}, .microbatches = 3, .recompute = {rule, rule}});
    pipeline.step(batch, mean_square);
    EXPECT_EQ(difference(split->buffers(), plain->buffers()), 0);
  }
}

}  // namespace
}  // namespace lamp
