// Counted bytes of a training step over K stages and M micro-batches, with and without
// recomputation: what each stage's thread had allocated at most, less the gradients of its
// parameters, which stay. And what skips cost on their way straight to where they are popped,
// against handing them from stage to stage. Prints JSON; bytes do not depend on the machine's load.
#include <torch/types.h>
#include <torch/utils.h>

#include <algorithm>
#include <iostream>
#include <map>
#include <string>
#include <vector>

#include "lamp/base/json.h"
#include "lamp/base/memory_counter.h"
#include "lamp/nets/net_factory.h"
#include "lamp/pipeline/pipeline.h"
#include "lamp/profile/measured_costs.h"

namespace {

using lamp::Json;
using lamp::MicroBatch;
using lamp::RecomputeRule;

constexpr std::int64_t kBatch =
    16;  // two samples in the smallest micro-batch: torch's convolution of
// a single small one needs 27 times its input as workspace

class SizedSkips : public lamp::LocalSkips {
 public:
  void stash(const std::string& name, torch::Tensor tensor) override {
    bytes[name] = static_cast<std::int64_t>(tensor.nbytes());
    LocalSkips::stash(name, std::move(tensor));
  }
  std::map<std::string, std::int64_t> bytes;
};

class Contestant {
 public:
  Contestant() {
    network_.initialise(1);
    network_.use_channels_last();
    batch_ = network_.prepare(torch::randn({kBatch, 1, 48, 48, 48}));
    for (const auto& layer : lamp::measure_costs(*network_.chain, batch_.narrow(0, 0, 2)).layers)
      costs_.push_back(static_cast<double>(layer.output_bytes));
    const torch::NoGradGuard no_gradients;
    network_.chain->run(batch_, 0, network_.chain->size(), skips_);
  }

  Json row(int stages, int microbatches, lamp::ScheduleKind schedule, RecomputeRule rule) {
    const auto count = static_cast<std::size_t>(stages);
    const lamp::Partition partition = lamp::partition_by_costs(costs_, count);
    lamp::Pipeline pipeline(network_.chain, {.devices = std::vector<c10::Device>(count, c10::kCPU),
                                             .partition = partition,
                                             .schedule = schedule,
                                             .microbatches = microbatches,
                                             .recompute = std::vector<RecomputeRule>(count, rule)});
    for (auto& parameter : network_.chain->parameters()) parameter.mutable_grad().reset();
    const lamp::StepResult result = pipeline.step(
        batch_, [](const torch::Tensor& output, const MicroBatch&) { return output.mean(); });
    Json bytes = Json::array();
    std::int64_t most = 0;
    for (std::size_t j = 0; j < count; ++j) {
      const std::int64_t stage = result.stage_peak_bytes[j] - parameter_bytes(partition[j]);
      bytes.push_back(stage);
      most = std::max(most, stage);
    }
    return {{"stages", stages},
            {"microbatches", microbatches},
            {"schedule", lamp::to_string(schedule)},
            {"recompute", lamp::to_string(rule)},
            {"stage_bytes", bytes},
            {"most_bytes", most},
            {"boundary_bytes", result.boundary_bytes},
            {"skip_bytes", result.skip_bytes}};
  }

  // Stages of equally many layers, as a cut that knows nothing of skips may be.
  Json skip_row(std::size_t stages) const {
    const lamp::Partition partition =
        lamp::partition_by_costs(std::vector<double>(network_.chain->size(), 1), stages);
    std::int64_t straight = 0, hop_by_hop = 0;
    for (const lamp::SkipTransfer& skip : lamp::skip_transfers(*network_.chain, partition)) {
      straight += skips_.bytes.at(skip.name);
      hop_by_hop +=
          skips_.bytes.at(skip.name) * static_cast<std::int64_t>(skip.to_stage - skip.from_stage);
    }
    return {{"stages", stages}, {"straight_bytes", straight}, {"hop_by_hop_bytes", hop_by_hop}};
  }

 private:
  std::int64_t parameter_bytes(const lamp::StageRange& range) const {
    std::int64_t bytes = 0;
    for (std::size_t l = range.first; l < range.last; ++l)
      for (const auto& parameter : network_.chain->layers()[l]->parameters())
        bytes += static_cast<std::int64_t>(parameter.nbytes());
    return bytes;
  }

  lamp::Network network_ =
      lamp::make_network({.name = "unet", .width = 16, .depth = 3, .classes = 10});
  torch::Tensor batch_;
  std::vector<double> costs_;
  SizedSkips skips_;
};

}  // namespace

int main() {
  lamp::count_cpu_memory();
  Contestant contestant;
  Json rows = Json::array();
  for (const RecomputeRule rule : {RecomputeRule::kNever, RecomputeRule::kAlways})
    for (const int stages : {1, 2, 4, 8})
      for (const int microbatches : {1, 2, 4, 8})
        for (const auto schedule : {lamp::ScheduleKind::kGPipe, lamp::ScheduleKind::k1F1B})
          rows.push_back(contestant.row(stages, microbatches, schedule, rule));
  Json skips = Json::array();
  for (const std::size_t stages : {2, 4, 8}) skips.push_back(contestant.skip_row(stages));
  std::cout << Json{{"net", "unet"},         {"width", 16},  {"depth", 3},    {"batch", kBatch},
                    {"input", {48, 48, 48}}, {"rows", rows}, {"skips", skips}}
                   .dump(1)
            << "\n";
}
