// Sizes from headers, memory from shapes.
#include "lamp/training/auto_settings.h"

#include <torch/types.h>

#include <algorithm>
#include <string>
#include <vector>

#include "lamp/base/device.h"
#include "lamp/base/errors.h"
#include "lamp/base/log.h"
#include "lamp/base/text.h"
#include "lamp/inference/memory_estimate.h"
#include "lamp/nets/net_factory.h"
#include "lamp/nets/precision.h"
#include "lamp/training/plan_choices.h"

namespace lamp {
namespace {

using Size = std::array<std::int64_t, 3>;

// The rest is for kernels' workspaces, which shapes do not know, and on the host for the prepared
// cases, which take up to a quarter.
constexpr double kShareOfHost = 0.65;
constexpr double kShareOfGpu = 0.9;

// A stage of the curriculum as the planner sees it, with what a run would not choose itself fixed.
PlanOptions plan_options(const TrainConfig& config, const StageConfig& stage, const Size& size) {
  PlanOptions options{.net = config.net,
                      .input = size,
                      .batch = stage.batch,
                      .execution = config.execution,
                      .optimizer = stage.optimizer,
                      .loss_is_sum = config.loss.dice != "batch"};
  const auto devices = parse_devices(config.execution.device);
  ExecutionConfig& execution = options.execution;
  execution.device.clear();
  std::int64_t free_bytes = available_bytes(devices.front());
  for (const c10::Device device : devices) {
    execution.device += (execution.device.empty() ? "" : ",") + device.str();
    free_bytes = std::min(free_bytes, available_bytes(device));
  }
  options.device_memory_bytes = free_bytes;
  if (execution.schedule == "auto") execution.schedule = "gpipe";
  if (execution.partition != "counts") execution.partition = "auto";
  // A single stage computes nothing again.
  if (devices.size() == 1 || execution.recompute == "stages") execution.recompute = "never";
  const Network network = make_network(config.net);
  const std::int64_t stride = network.stride_multiple;
  std::vector<std::int64_t> sizes = {stage.batch, config.net.in_channels};
  for (std::size_t axis = 3; axis-- > 0;)
    sizes.push_back((size[axis] + stride - 1) / stride * stride);
  execution.microbatches = choose_microbatches(
      config.execution, network, torch::empty(sizes, torch::TensorOptions().device(c10::kMeta)),
      devices, options.loss_is_sum);
  return options;
}

Size largest_patch(const TrainConfig& config, const StageConfig& stage, const Size& most) {
  PlanOptions options = plan_options(config, stage, most);
  const bool on_host = parse_devices(options.execution.device).front().is_cpu();
  const double share = on_host ? kShareOfHost : kShareOfGpu;
  options.input = largest_input(options, share);
  if (may_fit(options, share)) return options.input;
  throw DoesNotFit("configuration: curriculum.patch: \"auto\": not even patches of " +
                   size_text(options.input, "x") + " in batches of " + std::to_string(stage.batch) +
                   " fit; use a smaller batch, a narrower network or more devices");
}

// The patch that stage i of the run has had so far, if it had one.
std::optional<Size> earlier_patch(const Json& earlier, std::size_t i) {
  if (!earlier.is_object() || earlier.value("curriculum", Json()).size() <= i) return std::nullopt;
  const Json patch = earlier["curriculum"][i].value("patch", Json());
  if (!patch.is_array()) return std::nullopt;
  return patch.get<Size>();
}

}  // namespace

Size median_size(const Dataset& dataset, const DataConfig& data) {
  TORCH_CHECK(!dataset.training.empty(), "a data set without cases has no median size");
  std::array<std::vector<std::int64_t>, 3> sides;
  for (const Case& entry : dataset.training) {
    const VolumeHeader header = read_volume_header(entry.images.front(), data.read_options());
    const GridPath path = plan_grid(Volume{.geometry = header.geometry}, data);
    for (std::size_t axis = 0; axis < 3; ++axis) sides[axis].push_back(path.network.size[axis]);
  }
  Size median{};
  for (std::size_t axis = 0; axis < 3; ++axis) {
    const auto middle = sides[axis].begin() + static_cast<std::ptrdiff_t>(sides[axis].size() / 2);
    std::nth_element(sides[axis].begin(), middle, sides[axis].end());
    median[axis] = *middle;
  }
  return median;
}

void settle_auto(TrainConfig& config, const Dataset& dataset, const Json& earlier) {
  if (config.execution.precision == "auto") {
    const c10::Device device = parse_devices(config.execution.device).front();
    const bool goes_on = earlier.is_object();
    config.execution.precision = goes_on
                                     ? earlier["execution"].value("precision", std::string("fp32"))
                                     : chosen_precision("auto", device);
    log_info("precision " + config.execution.precision + ": " +
             (goes_on ? "as the run began" : bf16_support(device).why));
  }
  std::optional<Size> most;
  for (std::size_t i = 0; i < config.curriculum.size(); ++i) {
    StageConfig& stage = config.curriculum[i];
    if (!stage.is_auto_patch) continue;
    stage.patch = earlier_patch(earlier, i);
    const std::string name = "stage " + std::to_string(i + 1) + ": patch ";
    if (stage.patch) {
      log_info(name + size_text(*stage.patch, "x") + ", as the run began");
      continue;
    }
    if (!most) most = median_size(dataset, config.data);
    stage.patch = largest_patch(config, stage, *most);
    log_info(name + size_text(*stage.patch, "x") +
             ": the largest that fits, up to the images' median " + size_text(*most, "x"));
  }
}

}  // namespace lamp
