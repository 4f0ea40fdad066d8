// Precision and layout are set once for the weights and once for each input.
#include "lamp/inference/predictor.h"

#include <torch/nn/modules/batchnorm.h>
#include <torch/types.h>
#include <torch/utils.h>

#include <algorithm>
#include <chrono>
#include <future>
#include <limits>
#include <memory>

#include "lamp/base/device.h"
#include "lamp/base/interrupt.h"
#include "lamp/pipeline/prediction_stream.h"

namespace lamp {
namespace {

constexpr std::int64_t kSampleSide = 64;  // voxels; for measuring
constexpr int kRounds = 3;

torch::Tensor chain_input(const Network& network, const torch::Tensor& image, c10::Device device,
                          c10::ScalarType dtype) {
  return network.laid_out(network.pad(image.to(device, dtype)));
}

// Stages whose forward passes take equally long, measured on a small volume.
Partition cut_by_forward_time(const Network& network, c10::Device device, c10::ScalarType dtype,
                              std::size_t stages) {
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

}  // namespace

void place_network(Network& network, const Placement& placement) {
  network.channels_last = placement.layout == Layout::kChannelsLast;
  network.chain->eval();
  network.chain->to(placement.device);
  const torch::NoGradGuard no_gradients;
  for (const auto& module : network.chain->modules(/*include_self=*/false)) {
    if (module->as<torch::nn::BatchNorm3d>() != nullptr) continue;
    for (auto& parameter : module->parameters(/*recurse=*/false)) {
      torch::Tensor placed = parameter.to(placement.dtype);
      if (placed.dim() == 5) placed = placed.contiguous(memory_format(placement.layout));
      parameter.set_data(placed);
    }
  }
}

Predictor make_predictor(const Network& network, c10::Device device, c10::ScalarType dtype) {
  return [network, device, dtype](const torch::Tensor& image) {
    const torch::InferenceMode no_gradients;
    torch::Tensor tensor = chain_input(network, image, device, dtype);
    LocalSkips skips;
    for (std::size_t link = 0; link < network.chain->size(); ++link) {
      throw_if_interrupted("the case in work is not written");
      tensor = network.chain->run(std::move(tensor), link, link + 1, skips);
    }
    return network.crop(tensor, image).to(torch::kFloat32);
  };
}

StreamedPredictor make_streamed_predictor(const Network& network, const StagePlacement& placement) {
  const c10::Device first = placement.devices.front();
  const Partition partition =
      cut_by_forward_time(network, first, placement.dtype, placement.devices.size());
  const auto stream = std::make_shared<PredictionStream>(
      network.chain,
      StreamOptions{.devices = placement.devices,
                    .partition = partition,
                    .threads_per_stage = placement.one_at_a_time ? at::get_num_threads() : 0});
  const auto predict = [network, stream, device = first,
                        dtype = placement.dtype](const torch::Tensor& image) {
    const torch::InferenceMode no_gradients;
    std::vector<std::future<torch::Tensor>> outputs;
    for (const torch::Tensor& sample : image.split(1))
      outputs.push_back(stream->submit(chain_input(network, sample, device, dtype)));
    std::vector<torch::Tensor> scores;
    for (auto& output : outputs)
      scores.push_back(network.crop(output.get(), image).to(torch::kFloat32));
    return scores.size() == 1 ? scores.front() : torch::cat(scores);
  };
  return {.partition = partition, .predict = predict};
}

std::int64_t windows_at_once(std::size_t stages) {
  return stages == 1 ? 1 : 2 * static_cast<std::int64_t>(stages);
}

}  // namespace lamp
