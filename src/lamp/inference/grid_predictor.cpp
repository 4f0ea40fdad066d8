// One replica after another, each with a chain of its own; then whose turn it is.
#include "lamp/inference/grid_predictor.h"

#include <ATen/Parallel.h>
#include <torch/utils.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <future>
#include <limits>
#include <mutex>
#include <utility>

#include "lamp/base/device.h"
#include "lamp/base/interrupt.h"
#include "lamp/inference/predictor.h"
#include "lamp/nets/inference_form.h"
#include "lamp/nets/net_factory.h"
#include "lamp/pipeline/chain_copy.h"
#include "lamp/pipeline/pipeline.h"
#include "lamp/pipeline/prediction_stream.h"
#include "lamp/pipeline/stage_threads.h"
#include "lamp/pipeline/volume_cut.h"

namespace lamp {
namespace {

constexpr std::int64_t kSampleSide = 64;  // voxels; for measuring
constexpr int kRounds = 3;

using Devices = std::vector<c10::Device>;
using Tensors = std::vector<torch::Tensor>;

// Stages whose forward passes take equally long, measured on a small volume.
Partition cut_by_forward_time(const Network& network, c10::Device device, c10::ScalarType dtype,
                              std::size_t stages) {
  if (stages == 1) return {{0, network.chain->size()}};
  const torch::InferenceMode no_gradients;
  const torch::Tensor image = torch::zeros(
      {1, network.config.in_channels, kSampleSide, kSampleSide, kSampleSide}, torch::kFloat32);
  std::vector<double> seconds(network.chain->size(), std::numeric_limits<double>::infinity());
  for (int round = 0; round <= kRounds; ++round) {  // the first one warms up
    torch::Tensor tensor = chain_input(network, image, device, dtype);
    LocalSkips skips;
    for (std::size_t link = 0; link < network.chain->size(); ++link) {
      const auto start = std::chrono::steady_clock::now();
      tensor = network.chain->run(std::move(tensor), link, link + 1, skips);
      wait_for(device);
      const double taken =
          std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
      if (round > 0) seconds[link] = std::min(seconds[link], taken);
    }
  }
  return partition_by_costs(seconds, stages);
}

// Thread-safe.
class Replica {
 public:
  virtual ~Replica() = default;
  // Of the chain, on the last stage's device, in the inputs' order.
  virtual Tensors outputs(Tensors inputs) = 0;
};

class StreamReplica : public Replica {
 public:
  StreamReplica(std::shared_ptr<Sequence> chain, const StreamOptions& options)
      : stream_(std::move(chain), options) {}

  Tensors outputs(Tensors inputs) override {
    std::vector<std::future<torch::Tensor>> awaited;
    for (torch::Tensor& input : inputs) awaited.push_back(stream_.submit(std::move(input)));
    Tensors results;
    for (auto& output : awaited) results.push_back(output.get());
    return results;
  }

 private:
  PredictionStream stream_;
};

// The way of a training run's held-out cases.
class SlabReplica : public Replica {
 public:
  SlabReplica(std::shared_ptr<Sequence> chain, PipelineOptions options)
      : pipeline_(std::move(chain), std::move(options)) {}

  Tensors outputs(Tensors inputs) override {
    const std::lock_guard lock(mutex_);
    const torch::InferenceMode no_gradients;
    return pipeline_.predict(inputs,
                             [] { throw_if_interrupted("the case in work is not written"); });
  }

 private:
  std::mutex mutex_;
  Pipeline pipeline_;
};

// Of each worker on the CPU.
int threads_of_workers(const GridPlacement& placement) {
  Devices at_once = placement.devices;
  if (placement.one_at_a_time) at_once.resize(static_cast<std::size_t>(placement.slabs), c10::kCPU);
  const std::vector<std::string> names = device_names(at_once);
  const int threads = at::get_num_threads();
  // Crowded stages of a step take turns with all threads; here each has an input at work.
  if (at_once.size() > 1 && is_crowded(names, threads)) return 1;
  return stage_threads(names, threads);
}

std::unique_ptr<Replica> make_replica(std::shared_ptr<Sequence> chain, Devices devices,
                                      const Partition& partition, const GridPlacement& placement) {
  const int threads = threads_of_workers(placement);
  if (placement.slabs == 1)
    return std::make_unique<StreamReplica>(
        std::move(chain),
        StreamOptions{
            .devices = std::move(devices), .partition = partition, .threads_per_stage = threads});
  return std::make_unique<SlabReplica>(std::move(chain),
                                       PipelineOptions{.devices = std::move(devices),
                                                       .partition = partition,
                                                       .slabs = placement.slabs,
                                                       .make_chain = placement.make_chain,
                                                       .threads_per_stage = threads});
}

class ReplicaTurns {
 public:
  ReplicaTurns(const Network& network, const Partition& partition, const GridPlacement& placement) {
    const auto count = static_cast<std::size_t>(placement.replicas);
    const std::size_t own = placement.devices.size() / count;
    std::vector<std::shared_ptr<Sequence>> chains = {network.chain};
    // Before any layer moves to its stage.
    for (std::size_t r = 1; r < count; ++r) {
      chains.push_back(placement.make_chain());
      ChainCopy(*network.chain, *chains.back());  // gives it the weights
    }
    for (std::size_t r = 0; r < count; ++r) {
      const auto first = placement.devices.begin() + static_cast<std::ptrdiff_t>(r * own);
      replicas_.push_back(make_replica(chains[r], {first, first + static_cast<std::ptrdiff_t>(own)},
                                       partition, placement));
    }
  }

  Tensors outputs(Tensors inputs) {
    const std::size_t count = replicas_.size();
    if (count == 1) return replicas_.front()->outputs(std::move(inputs));
    if (inputs.size() == 1) return replicas_[turn_++ % count]->outputs(std::move(inputs));
    std::vector<Tensors> shares(count);
    for (std::size_t i = 0; i < inputs.size(); ++i)
      shares[i % count].push_back(std::move(inputs[i]));
    std::vector<std::future<Tensors>> at_work;
    for (std::size_t r = 0; r < count; ++r)
      if (!shares[r].empty())
        at_work.push_back(std::async(
            std::launch::async, [&, r] { return replicas_[r]->outputs(std::move(shares[r])); }));
    std::vector<Tensors> found;
    for (auto& work : at_work) found.push_back(work.get());
    Tensors results;
    for (std::size_t i = 0; i < inputs.size(); ++i)
      results.push_back(std::move(found[i % count][i / count]));
    return results;
  }

 private:
  std::vector<std::unique_ptr<Replica>> replicas_;
  std::atomic<std::size_t> turn_ = 0;
};

}  // namespace

std::function<std::shared_ptr<Sequence>()> chain_maker(const Network& network, bool is_folded) {
  return [config = network.config, last = network.channels_last, is_folded] {
    Network another = make_network(config);
    another.chain->eval();
    if (is_folded) another = inference_form(another);
    if (last) another.use_channels_last();
    return another.chain;
  };
}

GridPredictor make_grid_predictor(const Network& network, const GridPlacement& placement) {
  const c10::Device first = placement.devices.front();
  const auto lanes = static_cast<std::size_t>(placement.replicas * placement.slabs);
  TORCH_CHECK(placement.devices.size() % lanes == 0, "found ", placement.devices.size(),
              " devices for ", placement.replicas, " replicas of ", placement.slabs, " slabs");
  const Partition partition =
      cut_by_forward_time(network, first, placement.dtype, placement.devices.size() / lanes);
  const auto turns = std::make_shared<ReplicaTurns>(network, partition, placement);
  const auto predict = [network, turns, device = first,
                        dtype = placement.dtype](const torch::Tensor& image) {
    const torch::InferenceMode no_gradients;
    Tensors inputs;
    for (const torch::Tensor& sample : image.split(1))
      inputs.push_back(chain_input(network, sample, device, dtype));
    Tensors scores;
    for (torch::Tensor& output : turns->outputs(std::move(inputs)))
      scores.push_back(network.crop(output, image).to(torch::kFloat32));
    if (scores.size() == 1) return scores.front();
    for (torch::Tensor& sample : scores) sample = sample.to(scores.front().device());
    return torch::cat(scores);
  };
  return {.partition = partition, .predict = predict};
}

void check_cut(const Network& network, const Size3& size, int slabs) {
  if (slabs == 1) return;
  Shape3 padded = size.dhw();
  for (std::int64_t& side : padded)
    side = (side + network.stride_multiple - 1) / network.stride_multiple * network.stride_multiple;
  cut_volume(*network.chain, {1, network.config.in_channels, padded[0], padded[1], padded[2]},
             slabs);
}

std::int64_t windows_at_once(std::size_t groups) {
  return groups == 1 ? 1 : 2 * static_cast<std::int64_t>(groups);
}

}  // namespace lamp
