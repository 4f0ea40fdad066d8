// What the engine costs and what it gains on the CPU: one stage against a plain run of the same
// network, and two stages of one thread each against one stage of one thread, beside the speed-up
// that the measured actions and the schedule allow. Contestants take turns; prints JSON.
#include <ATen/Parallel.h>
#include <torch/types.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <functional>
#include <iostream>
#include <map>
#include <vector>

#include "lamp/base/json.h"
#include "lamp/nets/net_factory.h"
#include "lamp/pipeline/pipeline.h"
#include "lamp/pipeline/schedule.h"
#include "lamp/pipeline/schedule_timing.h"
#include "lamp/profile/measured_costs.h"

namespace {

using lamp::MicroBatch;
constexpr int kRounds = 7;
constexpr int kMicroBatches = 4;

double seconds_of(const std::function<void()>& work) {
  const auto start = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

torch::Tensor loss(const torch::Tensor& output, const MicroBatch&) {
  return output.square().mean();
}

lamp::Network network() {
  lamp::Network net = lamp::make_network({.name = "unet", .width = 16, .depth = 3, .classes = 10});
  net.initialise(1);
  net.use_channels_last();
  net.chain->train();
  return net;
}

// The step time that a run's own actions allow: each as long as it took, each as early as it may.
double allowed_seconds(const lamp::StepResult& run, int stages) {
  std::map<int, std::array<double, 2>> sums;
  for (const lamp::TimelineEntry& event : run.timeline)
    sums[event.stage][event.kind == lamp::WorkKind::kForward ? 0 : 1] += event.end - event.start;
  std::vector<lamp::StageCosts> costs;
  for (int j = 0; j < stages; ++j)
    costs.push_back(
        {.forward = sums[j][0] / kMicroBatches, .backward = sums[j][1] / kMicroBatches});
  return lamp::makespan(lamp::time_schedule(
      lamp::make_schedule(lamp::ScheduleKind::k1F1B, stages, kMicroBatches), costs));
}

}  // namespace

int main() {
  const torch::Tensor batch = torch::randn({8, 1, 48, 48, 48}).to(at::MemoryFormat::ChannelsLast3d);
  at::set_num_threads(1);
  lamp::Network plain = network(), single = network(), halves = network(), whole = network();
  std::vector<double> costs;
  for (const auto& layer : lamp::measure_costs(*halves.chain, batch.narrow(0, 0, 2)).layers)
    costs.push_back(layer.forward_s + layer.backward_s);
  lamp::Pipeline one(single.chain, {});
  lamp::Pipeline split(whole.chain, {.microbatches = kMicroBatches, .threads_per_stage = 1});
  lamp::Pipeline two(halves.chain, {.devices = {c10::kCPU, c10::kCPU},
                                    .partition = lamp::partition_by_costs(costs, 2),
                                    .schedule = lamp::ScheduleKind::k1F1B,
                                    .microbatches = kMicroBatches,
                                    .threads_per_stage = 1});
  std::vector<double> of_plain, of_one, of_split, of_two, allowed;
  for (int round = 0; round <= kRounds; ++round) {
    for (lamp::Network* net : {&plain, &single, &halves, &whole})
      for (auto& parameter : net->chain->parameters()) parameter.mutable_grad() = torch::Tensor();
    const double a = seconds_of([&] { loss(plain.chain->forward(batch), {}).backward(); });
    const double b = seconds_of([&] { one.step(batch, loss); });
    const double c = seconds_of([&] { split.step(batch, loss); });
    lamp::StepResult run;
    const double d = seconds_of([&] { run = two.step(batch, loss); });
    if (round == 0) continue;
    of_plain.push_back(a);
    of_one.push_back(b);
    of_split.push_back(c);
    of_two.push_back(d);
    allowed.push_back(allowed_seconds(run, 2));
  }
  const auto best = [](const std::vector<double>& values) {
    return *std::min_element(values.begin(), values.end());
  };
  std::cout << lamp::Json{{"plain", of_plain},
                          {"one_stage", of_one},
                          {"one_stage_split", of_split},
                          {"two_stages", of_two},
                          {"two_stages_allowed", allowed},
                          {"overhead", best(of_one) / best(of_plain) - 1},
                          {"speed_up", best(of_split) / best(of_two)},
                          {"speed_up_allowed", best(of_split) / best(allowed)}}
                   .dump(2)
            << "\n";
}
