// Whole steps of one micro-batch, timed layer by layer: where the seconds of a plan come from, and
// what `lamp plan --measure` takes in turn with the steps it measures, so that a machine whose
// speed drifts is compared with itself.
#pragma once

#include <ATen/Parallel.h>
#include <torch/optim/optimizer.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "lamp/execution/optimizer.h"
#include "lamp/execution/plan_choices.h"
#include "lamp/execution/plan_request.h"
#include "lamp/nets/network.h"
#include "lamp/profile/side_by_side.h"

namespace lamp {

// Random weights, in training mode and in the options' layout: speed does not depend on values.
Network network_on(const PlanOptions& options, c10::Device device);
// Noise with random labels for it.
StepWork step_work(const PlanOptions& options, const Network& network, std::int64_t samples);

// Threads of the CPU for as long as it lives.
class ThreadsScope {
 public:
  explicit ThreadsScope(int count) {
    if (count != before_) at::set_num_threads(count);
  }
  ~ThreadsScope() {
    if (at::get_num_threads() != before_) at::set_num_threads(before_);
  }
  ThreadsScope(const ThreadsScope&) = delete;
  ThreadsScope& operator=(const ThreadsScope&) = delete;

 private:
  int before_ = at::get_num_threads();
};

// The end of a training step: the norm of the gradients and the optimizer's step.
double update_seconds(torch::optim::Optimizer& optimizer, const NamedParameters& parameters);

// What whole steps of so many networks at the same time hold, without the optimizer's state.
std::int64_t step_bytes(const NetworkCosts& costs, int copies);

class StepProfile {
 public:
  // copies: stages that are at work at the same time, each with `threads` of the CPU's threads.
  // `network` is the first of them, the others are made here.
  StepProfile(const PlanOptions& options, const Network& network, std::int64_t samples, int copies,
              int threads);

  // Of the network alone, on this thread; of all copies at the same time. Their gradients stay.
  StepSeconds alone(const std::function<void()>& on_link = nullptr);
  StepSeconds side_by_side(const std::function<void()>& on_link = nullptr);
  // The end of a training step, with the gradients that are there: their norm and the optimizer's
  // step, by all threads.
  double update();
  void drop_gradients();

 private:
  PlanOptions options_;
  int threads_;
  std::vector<StepWork> works_;
  NamedParameters parameters_;  // of the first network
  std::unique_ptr<torch::optim::Optimizer> optimizer_;
  std::optional<SideBySide> all_;
};

// A plan's step predicted again and again, each time from a profile of that moment.
class RepeatedPrediction {
 public:
  // Nothing where the first device does not hold the profile beside the plan's own step.
  static std::unique_ptr<RepeatedPrediction> make(const NetworkPlan& chosen);

  // Seconds of the plan's step, its update included, from one profile. The first one is a warm-up.
  double round();
  // What it holds on its device between two rounds.
  std::int64_t held_bytes() const { return held_bytes_; }

 private:
  RepeatedPrediction(const NetworkPlan& chosen, double overlap, int copies);

  Plan plan_;
  double overlap_;
  std::vector<double> shares_;  // of a whole volume's seconds by link, that a worker takes
  c10::Device device_;
  std::optional<StepProfile> profile_;
  std::int64_t held_bytes_ = 0;
};

}  // namespace lamp
