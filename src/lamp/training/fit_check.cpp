// Every stage of a curriculum and the largest held-out case.
#include "lamp/training/fit_check.h"

#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "lamp/base/device.h"
#include "lamp/base/errors.h"
#include "lamp/base/host_memory.h"
#include "lamp/base/log.h"
#include "lamp/base/setting_name.h"
#include "lamp/base/size3.h"
#include "lamp/base/text.h"
#include "lamp/execution/optimizer.h"
#include "lamp/execution/plan_choices.h"
#include "lamp/execution/plan_costs.h"
#include "lamp/execution/shape_fit.h"
#include "lamp/inference/memory_estimate.h"
#include "lamp/nets/net_factory.h"
#include "lamp/nets/precision.h"
#include "lamp/planner/forward_pass.h"
#include "lamp/training/case_split.h"
#include "lamp/training/curriculum_plan.h"
#include "lamp/training/step_fit.h"

namespace lamp {
namespace {

constexpr const char* kMore = "; lamp plan says what fits";

NetworkCosts forward_costs(const NetConfig& net, const Size3& size, bool halve) {
  const c10::InferenceMode with_gradients(false);  // the caller may be predicting
  const PlanOptions options{.net = net, .input = size};
  const NetworkCosts costs = shape_costs_of(options, shapes_of(options))({.samples = 1});
  return halve ? halved(costs) : costs;
}

std::int64_t parameter_bytes(const NetworkCosts& costs) {
  std::int64_t bytes = 0;
  for (const LayerCosts& layer : costs.layers) bytes += layer.parameter_bytes;
  return bytes;
}

// Of a volume that passes through all stages without a graph: on one device whatever the cut, on
// several at least the largest link.
std::int64_t pass_bytes(const NetworkCosts& costs, bool one_device) {
  if (one_device) return prediction_peak_bytes(costs, {0, costs.layers.size()}, 0);
  std::int64_t most = 0;
  for (std::size_t link = 0; link < costs.layers.size(); ++link)
    most = std::max(most, prediction_peak_bytes(costs, {link, link + 1}, 0));
  return most;
}

// Of several devices each holds a slab's part of a volume: by how much that is less than all of it.
std::int64_t slabs_apart(const ExecutionConfig& execution) {
  if (!execution.split) return 1;
  std::map<std::string, std::int64_t> workers;
  for (const std::string& name : device_names(parse_devices(execution.device))) ++workers[name];
  std::int64_t most = 1;
  for (const auto& [name, count] : workers) most = std::max(most, count);
  return std::max<std::int64_t>(1, execution.split->slabs / most);
}

std::optional<std::string> validation_fault(const TrainConfig& config, const Dataset& dataset,
                                            const CaseSplit& split, const Memories& memories) {
  if (split.validation.empty()) return std::nullopt;
  std::vector<Case> held_out;
  for (const std::size_t index : split.validation) held_out.push_back(dataset.training[index]);
  std::size_t which = 0;
  const Size3 size = largest_size(held_out, config.data, &which);
  const bool one_device = memories.size() == 1;
  const Memory& memory = roomiest(memories);
  const NetworkCosts costs =
      forward_costs(config.net, size, is_reduced(config.execution.precision));
  std::int64_t bytes = pass_bytes(costs, one_device);
  if (!one_device) bytes /= slabs_apart(config.execution);
  if (one_device) {
    // Weights, gradients and what the optimizer remembers stay.
    double held = 2;
    for (const StageConfig& stage : config.curriculum)
      held = std::max(held, 1 + optimizer_state_factor(stage.optimizer));
    bytes += static_cast<std::int64_t>(held * static_cast<double>(parameter_bytes(costs)));
  }
  const std::string what = "validation: the held-out case " + held_out[which].name + " (" +
                           size_text(size, "x") + ") " + need_text(bytes, memory) +
                           " to be segmented whole";
  if (bytes > memory.most)
    return what +
           "; leave validation out (validation.fraction=0), or use a coarser "
           "data.spacing_mm, a narrower network or more devices";
  if (bytes > memory.free) log_warning(what + " and may not fit");
  return std::nullopt;
}

}  // namespace

namespace {

constexpr std::size_t kMostNamed = 5;  // faults in one line

// The stages of a curriculum; equal ones are judged once.
class StageChecks {
 public:
  StageChecks(const TrainConfig& config, const Dataset& dataset, const CaseSplit& split)
      : config_(config),
        dataset_(dataset),
        split_(split),
        memories_(memories_of(config.execution)) {}

  const Memories& memories() const { return memories_; }

  // Nothing where the stage fits, its patch is not settled, or an equal one came before.
  std::optional<std::string> fault(std::size_t index) {
    const StageConfig& stage = config_.curriculum[index];
    if (stage.is_auto_patch && !stage.patch) return std::nullopt;
    const Size3 size = stage.patch ? *stage.patch : largest();
    const Json key = {size, stage.batch, stage.patch.has_value(), to_json(stage.optimizer)};
    if (!judged_.insert(key.dump()).second) return std::nullopt;
    return step_fault(
        plan_options_of(config_, stage, size),
        "curriculum stage " + std::to_string(index + 1) + " (" +
            (stage.patch ? size_text(size, "x") : "whole volumes up to " + size_text(size, "x")) +
            ", batch " + std::to_string(stage.batch) + ")",
        memories_, FitWords(index));
  }

 private:
  Size3 largest() {
    if (!largest_) largest_ = largest_training_size(dataset_, split_, config_.data);
    return *largest_;
  }

  const TrainConfig& config_;
  const Dataset& dataset_;
  const CaseSplit& split_;
  Memories memories_;
  std::optional<Size3> largest_;
  std::set<std::string> judged_;
};

}  // namespace

void check_fits(const TrainConfig& config, const Dataset& dataset) {
  Dataset all = dataset;
  const CaseSplit split = split_dataset(all, config.validation, config.seed);
  StageChecks stages(config, all, split);
  std::vector<std::string> faults;
  const auto add = [&](std::optional<std::string> fault) {
    if (fault) faults.push_back(std::move(*fault));
  };
  for (std::size_t i = 0; i < config.curriculum.size(); ++i) add(stages.fault(i));
  add(validation_fault(config, all, split, stages.memories()));
  if (faults.empty()) return;
  if (const std::size_t all_faults = faults.size(); all_faults > kMostNamed) {
    faults.resize(kMostNamed);
    faults.push_back("and " + std::to_string(all_faults - kMostNamed) + " more");
  }
  std::string message = "does not fit";
  for (const std::string& fault : faults)
    message += (&fault == &faults.front() ? ": " : "; ") + fault;
  throw DoesNotFit(message);
}

void check_stage_fits(const TrainConfig& config, const Dataset& dataset, std::size_t stage) {
  Dataset all = dataset;
  const CaseSplit split = split_dataset(all, config.validation, config.seed);
  if (const auto fault = StageChecks(config, all, split).fault(stage))
    throw DoesNotFit("does not fit: " + *fault + kMore);
}

void check_batch_fits(const TrainConfig& config, const Dataset& dataset,
                      const std::vector<std::size_t>& cases, std::size_t stage) {
  const StageConfig& asked = config.curriculum[stage];
  if (asked.is_auto_patch && !asked.patch) return;
  std::optional<Size3> least;
  for (const std::size_t index : cases) {
    const Size3 size = network_size(dataset.training[index], config.data);
    if (!least) least = size;
    for (std::size_t axis = 0; axis < 3; ++axis)
      (*least)[axis] = std::min((*least)[axis], size[axis]);
  }
  if (!least) return;
  for (std::size_t axis = 0; axis < 3 && asked.patch; ++axis)
    (*least)[axis] = std::min((*least)[axis], (*asked.patch)[axis]);
  // Float images and a byte of label, first patch by patch, then as a batch.
  double needed =
      2 * static_cast<double>(asked.batch) * static_cast<double>(4 * config.net.in_channels + 1);
  for (const std::int64_t side : *least) needed *= static_cast<double>(side);
  const auto shortage =
      memory_shortage(needed, parse_devices(config.execution.device).front().is_cpu()
                                  ? config.execution.memory_bytes
                                  : std::nullopt);
  if (!shortage) return;
  const std::string key = "curriculum." + std::to_string(stage);
  throw DoesNotFit("does not fit: curriculum stage " + std::to_string(stage + 1) + " (" +
                   asked.describe() + "): a batch takes about " + shortage->needed +
                   " while it is put together, but " + shortage->left + "; use a smaller " + key +
                   ".batch or " + key + ".patch");
}

void check_step_fits(const BenchOptions& options) {
  const PlanOptions plan = as_a_run({.net = options.net,
                                     .input = options.input,
                                     .batch = options.batch,
                                     .execution = options.execution,
                                     .optimizer = options.optimizer});
  const std::string what = setting_to("input", size_text(options.input)) + " " +
                           setting_to("batch", std::to_string(options.batch));
  if (const auto fault = step_fault(plan, what, memories_of(options.execution), FitWords()))
    throw DoesNotFit("does not fit: " + *fault + kMore);
}

void check_segment_fits(const BenchOptions& options) {
  const Memories memories = memories_of(options.execution);
  const Memory& memory = roomiest(memories);
  const bool one_device = memories.size() == 1;
  const bool halve = is_reduced(options.execution.precision);
  const auto [x, y, z] = options.input;
  const std::int64_t slabs = slabs_apart(options.execution);
  // Of one device's workers, each has a window.
  const std::int64_t at_work =
      options.execution.split && options.window ? options.execution.split->replicas : 1;
  // The image, and the logits of two networks that are compared; over several devices they and the
  // weights may lie elsewhere.
  const std::int64_t beside = 4 * x * y * z * (options.net.in_channels + options.net.classes);
  const auto bytes_of = [&](const Size3& window) {
    const NetworkCosts costs = forward_costs(options.net, window, halve);
    const std::int64_t bytes = pass_bytes(costs, one_device);
    return one_device ? at_work * bytes + 2 * parameter_bytes(costs) + beside : bytes / slabs;
  };
  const Size3 size = options.window ? options.window->size : options.input;
  const std::int64_t bytes = bytes_of(size);
  if (bytes <= memory.most) return;
  const auto fits = [&](const Size3& window) { return bytes_of(window) <= memory.advised; };
  const Size3 window = largest_that_fits(size, stride_multiple(options.net), fits);
  throw DoesNotFit("does not fit: " + setting_to("input", size_text(options.input)) + " " +
                   (options.window ? "in windows of " + size_text(size) : std::string("whole")) +
                   " " + need_text(bytes, memory) + "; " +
                   (fits(window) ? setting_to("patch", size_text(window)) + " would fit"
                                 : "use a smaller " + setting_name("input") +
                                       ", a narrower network or fewer classes") +
                   kMore);
}

}  // namespace lamp
