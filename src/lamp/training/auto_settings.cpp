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
#include "lamp/execution/plan_choices.h"
#include "lamp/nets/precision.h"
#include "lamp/training/curriculum_plan.h"

namespace lamp {

Size3 largest_patch(const TrainConfig& config, const StageConfig& stage, const Size3& most) {
  PlanOptions options = plan_options_of(config, stage, most);
  // Advice of what surely fits: rules that differ from stage to stage may save nothing.
  if (config.execution.recompute == "stages") options.execution.recompute = "never";
  const double share = usual_share(parse_devices(options.execution.device).front());
  options.input = largest_input(options, share);
  if (may_fit(options, share)) return options.input;
  throw DoesNotFit("configuration: curriculum.patch: \"auto\": not even patches of " +
                   size_text(options.input, "x") + " in batches of " + std::to_string(stage.batch) +
                   " fit; use a smaller batch, a narrower network or more devices");
}

namespace {

// The patch that stage i of the run has had so far, if it had one.
std::optional<Size3> earlier_patch(const Json& earlier, std::size_t i) {
  if (!earlier.is_object() || earlier.value("curriculum", Json()).size() <= i) return std::nullopt;
  return size3_of(earlier["curriculum"][i].value("patch", Json()));
}

}  // namespace

Size3 median_size(const Dataset& dataset, const DataConfig& data) {
  TORCH_CHECK(!dataset.training.empty(), "a data set without cases has no median size");
  std::array<std::vector<std::int64_t>, 3> sides;
  for (const Case& entry : dataset.training) {
    const Size3 size = network_size(entry, data);
    for (std::size_t axis = 0; axis < 3; ++axis) sides[axis].push_back(size[axis]);
  }
  Size3 median{};
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
  std::optional<Size3> most;
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
