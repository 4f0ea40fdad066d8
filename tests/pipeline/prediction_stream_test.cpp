// Inputs that stream through stages come out as from one device, whoever else is on the way.
#include "lamp/pipeline/prediction_stream.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/types.h>
#include <torch/utils.h>

#include <csignal>
#include <thread>

#include "lamp/base/errors.h"
#include "support/random_chain.h"
#include "support/signals.h"

namespace lamp {
namespace {

using namespace lamp::testing;  // NOLINT: the test's own support
using ::testing::HasSubstr;

StreamOptions cpu_stages(const std::vector<std::int64_t>& counts, std::size_t links) {
  return {.devices = std::vector<c10::Device>(counts.size(), c10::kCPU),
          .partition = partition_by_counts(counts, links),
          .threads_per_stage = 1};
}

std::vector<torch::Tensor> inputs_of_many_sizes(std::int64_t count) {
  std::vector<torch::Tensor> inputs;
  for (std::int64_t i = 0; i < count; ++i)
    inputs.push_back(torch::randn({1 + i % 2, kChannels, 2 + i % 3, 3, 2 + i}, torch::kFloat64));
  return inputs;
}

// Three links; the middle one refuses inputs with a negative first value.
std::shared_ptr<Sequence> picky_chain() {
  return std::make_shared<Sequence>(
      std::vector<Link>{{"twice", as_layer([](torch::Tensor x) { return x * 2; })},
                        {"picky", as_layer([](torch::Tensor x) {
                           TORCH_CHECK(x.flatten()[0].item<double>() >= 0, "too cold");
                           return x + 1;
                         })},
                        {"half", as_layer([](torch::Tensor x) { return x / 2; })}});
}

TEST(PredictionStreamTest, EveryInputOfEveryThreadComesOutAsFromOneDevice) {
  for (std::uint64_t seed = 0; seed < 5; ++seed) {
    const auto chain = random_chain({.seed = seed});
    chain->eval();
    const auto inputs = inputs_of_many_sizes(8);
    std::vector<torch::Tensor> expected;
    for (const auto& input : inputs) {
      const torch::InferenceMode no_gradients;
      expected.push_back(chain->forward(input));
    }
    const auto links = static_cast<std::int64_t>(chain->size());
    PredictionStream stream(chain, cpu_stages({2, 3, 1, links - 6}, chain->size()));
    std::vector<std::thread> callers;
    std::vector<double> worst(3, 1e300);
    for (double& mine : worst)
      callers.emplace_back([&] {
        std::vector<std::future<torch::Tensor>> futures;
        for (const auto& input : inputs) futures.push_back(stream.submit(input));
        std::vector<torch::Tensor> found;
        for (auto& future : futures) found.push_back(future.get());
        mine = difference(found, expected);
      });
    for (auto& caller : callers) caller.join();
    EXPECT_THAT(worst, ::testing::Each(0)) << "seed " << seed;
  }
}

TEST(PredictionStreamTest, AnInputThatFailsTakesNoOtherWithIt) {
  PredictionStream stream(picky_chain(), cpu_stages({1, 1, 1}, 3));
  std::vector<std::future<torch::Tensor>> futures;
  for (int i = 0; i < 12; ++i)
    futures.push_back(stream.submit(torch::full({1, 2}, i % 3 == 1 ? -1.0 : i)));
  for (int i = 0; i < 12; ++i) {
    if (i % 3 != 1) {
      EXPECT_EQ(futures[static_cast<std::size_t>(i)].get()[0][1].item<double>(), i + 0.5);
      continue;
    }
    try {
      futures[static_cast<std::size_t>(i)].get();
      ADD_FAILURE() << "input " << i << " should have failed";
    } catch (const c10::Error& error) {
      EXPECT_THAT(error.what(), HasSubstr("too cold"));
      EXPECT_THAT(error.what(), HasSubstr("picky"));
      EXPECT_THAT(error.what(), HasSubstr("stage 1"));
    }
  }
}

TEST(PredictionStreamTest, WhatWasSubmittedIsFinishedBeforeTheStreamEnds) {
  std::vector<std::future<torch::Tensor>> futures;
  {
    PredictionStream stream(picky_chain(), cpu_stages({2, 1}, 3));
    for (int i = 0; i < 4; ++i) futures.push_back(stream.submit(torch::full({1, 2}, 1.0)));
  }
  for (auto& future : futures) EXPECT_EQ(future.get()[0][0].item<double>(), 1.5);
}

TEST(PredictionStreamTest, StagesWorkAtTheSameTime) {
  // The second input waits in the first stage until the first is in the second, and it there for
  // the second: run in turn, they would wait until they give up.
  std::atomic<int> at_work = 0;
  std::atomic<bool> met = false;
  const auto meet = [&](torch::Tensor x, double who) {
    if (x.item<double>() != who) return x;
    ++at_work;
    const auto give_up = std::chrono::steady_clock::now() + std::chrono::seconds(10);
    while (!met && std::chrono::steady_clock::now() < give_up)
      if (at_work >= 2) met = true;
    --at_work;
    return x;
  };
  const auto chain = std::make_shared<Sequence>(
      std::vector<Link>{{"a", as_layer([&](torch::Tensor x) { return meet(x, 2); })},
                        {"b", as_layer([&](torch::Tensor x) { return meet(x, 1); })}});
  PredictionStream stream(chain, cpu_stages({1, 1}, 2));
  auto first = stream.submit(torch::full({1}, 1.0));
  auto second = stream.submit(torch::full({1}, 2.0));
  first.get();
  second.get();
  EXPECT_TRUE(met);
}

TEST(PredictionStreamTest, ASignalEndsWhatIsUnderWay) {
  PredictionStream stream(picky_chain(), cpu_stages({1, 2}, 3));
  testing::send_signal(SIGINT);
  EXPECT_THROW(stream.submit(torch::zeros({1, 2})).get(), Interrupted);
  testing::forget_signals();
  EXPECT_EQ(stream.submit(torch::zeros({1, 2})).get()[0][0].item<double>(), 0.5);
}

TEST(PredictionStreamTest, RefusesAPartitionThatDoesNotFit) {
  EXPECT_THROW(PredictionStream(picky_chain(), {.devices = {c10::kCPU, c10::kCPU},
                                                .partition = partition_by_counts({3}, 3)}),
               UsageError);
}

}  // namespace
}  // namespace lamp
