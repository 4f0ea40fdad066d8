// Sizes from headers; a run's own choices made beforehand.
#include "lamp/training/curriculum_plan.h"

#include <torch/types.h>

#include <algorithm>

#include "lamp/base/device.h"
#include "lamp/data/preprocess.h"
#include "lamp/nets/net_factory.h"

namespace lamp {
namespace {

using Size = std::array<std::int64_t, 3>;

std::int64_t microbatches_of(const PlanOptions& options, const std::vector<c10::Device>& devices) {
  const std::int64_t stride = stride_multiple(options.net);
  const Network network{.config = options.net, .stride_multiple = stride};
  std::vector<std::int64_t> sizes = {options.batch, options.net.in_channels};
  for (std::size_t axis = 3; axis-- > 0;)
    sizes.push_back((options.input[axis] + stride - 1) / stride * stride);
  return choose_microbatches(options.execution, network,
                             torch::empty(sizes, torch::TensorOptions().device(c10::kMeta)),
                             devices, options.loss_is_sum);
}

}  // namespace

Size network_size(const Case& entry, const DataConfig& data) {
  const VolumeHeader header = read_volume_header(entry.images.front(), data.read_options());
  return plan_grid(Volume{.geometry = header.geometry}, data).network.size;
}

Size largest_size(const std::vector<Case>& cases, const DataConfig& data, std::size_t* which) {
  Size largest{};
  for (std::size_t i = 0; i < cases.size(); ++i) {
    const Size size = network_size(cases[i], data);
    if (size[0] * size[1] * size[2] <= largest[0] * largest[1] * largest[2]) continue;
    largest = size;
    if (which != nullptr) *which = i;
  }
  return largest;
}

PlanOptions as_a_run(PlanOptions options) {
  ExecutionConfig& execution = options.execution;
  const auto devices = parse_devices(execution.device);
  execution.device.clear();
  std::int64_t free_bytes = device_memory(execution, devices.front());
  for (const c10::Device device : devices) {
    execution.device += (execution.device.empty() ? "" : ",") + device.str();
    free_bytes = std::min(free_bytes, device_memory(execution, device));
  }
  if (!options.device_memory_bytes) options.device_memory_bytes = free_bytes;
  if (execution.schedule == "auto") execution.schedule = "gpipe";
  if (execution.partition != "counts") execution.partition = "auto";
  if (execution.recompute == "stages") execution.recompute = "auto";
  if (devices.size() == 1) execution.recompute = "never";
  execution.microbatches = microbatches_of(options, devices);
  return options;
}

PlanOptions plan_options_of(const TrainConfig& config, const StageConfig& stage, const Size& size) {
  return as_a_run({.net = config.net,
                   .input = size,
                   .batch = stage.batch,
                   .execution = config.execution,
                   .optimizer = stage.optimizer,
                   .loss_is_sum = config.loss.dice != "batch"});
}

}  // namespace lamp
