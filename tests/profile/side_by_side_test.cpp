// What runs beside another run is the same run, and a failure reaches the caller.
#include "lamp/profile/side_by_side.h"

#include <ATen/Parallel.h>
#include <gtest/gtest.h>
#include <torch/types.h>

#include <mutex>
#include <set>
#include <stdexcept>
#include <thread>

#include "support/random_chain.h"

namespace lamp {
namespace {

using lamp::testing::kChannels;

// Chains of the same seed have the same weights.
StepWork work_of(std::uint64_t seed) {
  return {.chain = lamp::testing::random_chain({.seed = seed, .dropout = true}),
          .input = torch::full({2, kChannels, 4, 4, 4}, 0.5, torch::kFloat64),
          .loss = [](const torch::Tensor& output) { return output.square().mean(); }};
}

std::vector<torch::Tensor> gradients(const StepWork& work) {
  std::vector<torch::Tensor> result;
  for (const torch::Tensor& parameter : work.chain->parameters())
    result.push_back(parameter.grad());
  return result;
}

TEST(SideBySideTest, EachCopyHasTheGradientsOfARunAlone) {
  at::set_num_threads(1);
  for (const std::uint64_t seed : {1, 2, 3}) {
    const StepWork alone = work_of(seed);
    RunContext context;
    {
      const RunScope scope(context);
      time_step(*alone.chain, alone.input, alone.loss, nullptr);
    }
    const StepWork first = work_of(seed), second = work_of(seed);
    SideBySide both({first, second}, 1);
    const StepSeconds found = both.time_step(nullptr);
    ASSERT_EQ(found.links.size(), alone.chain->size());
    double all = found.loss;
    for (const StepSeconds::Link& link : found.links) {
      EXPECT_GE(link.forward, 0);
      EXPECT_GE(link.backward, 0);
      all += link.forward + link.backward;
    }
    EXPECT_GT(all, 0);
    const auto expected = gradients(alone);
    for (const StepWork& work : {first, second}) {
      const auto own = gradients(work);
      ASSERT_EQ(own.size(), expected.size());
      for (std::size_t i = 0; i < own.size(); ++i) {
        ASSERT_EQ(own[i].defined(), expected[i].defined());
        if (!own[i].defined()) continue;
        EXPECT_TRUE(torch::equal(own[i], expected[i])) << seed << " " << i;
      }
    }
  }
}

TEST(SideBySideTest, AllAreAtWorkAtTheSameTimeAndOnlyOneReports) {
  at::set_num_threads(1);
  std::mutex mutex;
  std::set<std::thread::id> threads;
  StepWork works[] = {work_of(1), work_of(1), work_of(1)};
  for (StepWork& work : works)
    work.loss = [&](const torch::Tensor& output) {
      const std::lock_guard lock(mutex);
      threads.insert(std::this_thread::get_id());
      return output.square().mean();
    };
  SideBySide all({works[0], works[1], works[2]}, 1);
  std::size_t calls = 0;
  all.time_step([&] { ++calls; });
  EXPECT_EQ(threads.size(), 3U);
  EXPECT_EQ(threads.count(std::this_thread::get_id()), 0U);
  EXPECT_EQ(calls, works[0].chain->size());
  all.time_step([&] { ++calls; });
  EXPECT_EQ(threads.size(), 3U) << "the threads stay";
}

TEST(SideBySideTest, AFailureIsThrownWhenAllAreDoneAndTheNextStepWorks) {
  at::set_num_threads(1);
  StepWork broken = work_of(1);
  bool fails = true;
  broken.loss = [&](const torch::Tensor& output) {
    if (fails) throw std::runtime_error("no loss");
    return output.square().mean();
  };
  SideBySide both({work_of(1), broken}, 1);
  EXPECT_THROW(both.time_step(nullptr), std::runtime_error);
  fails = false;
  EXPECT_NO_THROW(both.time_step(nullptr));
}

}  // namespace
}  // namespace lamp
