// Predictions against memory, then a search for what would fit.
#include "lamp/training/fit_check.h"

#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <functional>
#include <memory>
#include <optional>
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
#include "lamp/inference/memory_estimate.h"
#include "lamp/nets/net_factory.h"
#include "lamp/nets/precision.h"
#include "lamp/planner/fit.h"
#include "lamp/planner/forward_pass.h"
#include "lamp/training/case_split.h"
#include "lamp/training/curriculum_plan.h"
#include "lamp/training/fit_words.h"

namespace lamp {
namespace {

constexpr double kModelError = 0.1;
constexpr std::size_t kMostHostStages = 4;   // that advice looks at
constexpr std::size_t kMostGpus = 16;        // the same
constexpr std::int64_t kSteadySamples = 2;   // of a micro-batch, for batch norm
constexpr std::int64_t kMostAdvised = 4096;  // micro-batches

constexpr const char* kMore = "; lamp plan says what fits";

// Of one device.
struct Memory {
  std::string device;
  std::int64_t free = 0;     // without swapping
  std::int64_t most = 0;     // beyond this nothing has worked
  std::int64_t advised = 0;  // what advice may take
};
using Memories = std::vector<Memory>;  // by distinct device, as PipelineSetup orders them

Memories memories_of(const ExecutionConfig& config) {
  Memories memories;
  for (const c10::Device device : parse_devices(config.device)) {
    if (std::any_of(memories.begin(), memories.end(),
                    [&](const Memory& known) { return known.device == device.str(); }))
      continue;
    const std::int64_t free = device_memory(config, device);
    memories.push_back({.device = device.str(), .free = free, .most = free, .advised = free});
    if (config.memory_bytes) continue;
    const std::int64_t most = device.is_cpu() ? most_memory_bytes() : free;
    memories.back().most = static_cast<std::int64_t>(static_cast<double>(most) / (1 - kModelError));
    memories.back().advised =
        static_cast<std::int64_t>(static_cast<double>(free) * usual_share(device));
  }
  return memories;
}

const Memory& roomiest(const Memories& memories) {
  return *std::max_element(memories.begin(), memories.end(),
                           [](const Memory& a, const Memory& b) { return a.most < b.most; });
}

bool is_reduced(const std::string& precision) { return precision != "fp32" && precision != "auto"; }

// Activations of half the bytes: no reduced precision holds less.
NetworkCosts halved(NetworkCosts costs) {
  const auto halve = [](std::int64_t& bytes) { bytes /= 2; };
  for (LayerCosts& layer : costs.layers) {
    halve(layer.output_bytes);
    halve(layer.saved_bytes);
    halve(layer.handed_bytes);
    halve(layer.forward_workspace_bytes);
    halve(layer.backward_workspace_bytes);
  }
  for (SkipBytes& skip : costs.skips) halve(skip.bytes);
  halve(costs.loss_workspace_bytes);
  return costs;
}

// Of what is left open the settings that hold least: one micro-batch after another, as many as the
// planner would take.
void hold_little(PlanRequest& request) {
  if (request.devices.size() == 1) return;
  if (!request.schedule) request.schedule = ScheduleKind::kNaive;
  if (request.microbatches || !request.loss_is_sum) return;
  request.microbatches = static_cast<int>(
      std::clamp<std::int64_t>(request.batch / kLeastChosenSamples, 1, kMostChosenMicrobatches));
}

// What a training step holds at the least, by shapes.
class StepNeed {
 public:
  explicit StepNeed(const PlanOptions& options) : shapes_(shapes_of(options)) {}

  // Whether it fits so much of each device's memory, and what the devices hold.
  Fit fit(PlanOptions options, const Memories& memories, std::int64_t Memory::*limit,
          bool halve) const {
    options.device_memory_bytes = memories.front().*limit;
    const CostProvider exact = shape_costs_of(options, shapes_);
    PlanRequest request = request_of(options, shapes_);
    request.alternatives.clear();
    hold_little(request);
    for (PlanDevice& device : request.devices)
      for (const Memory& memory : memories)
        if (memory.device == device.name) device.memory_bytes = memory.*limit;
    return halve ? least_fit(request, [&](const CostQuery& query) { return halved(exact(query)); })
                 : least_fit(request, exact);
  }
  bool fits(const PlanOptions& options, const Memories& memories) const {
    return fit(options, memories, &Memory::advised, /*halve=*/false).fits;
  }
  std::int64_t stride() const { return shapes_->stride_multiple; }
  std::size_t links() const { return shapes_->chain->size(); }

 private:
  std::shared_ptr<Network> shapes_;
};

// The largest of 1 ... most for which `fits`; 0 if there is none.
std::int64_t most_that_fits(std::int64_t most, const std::function<bool(std::int64_t)>& fits) {
  std::int64_t known = 0, beyond = most + 1;
  while (known + 1 < beyond) {
    const std::int64_t middle = known + (beyond - known) / 2;
    (fits(middle) ? known : beyond) = middle;
  }
  return known;
}

// What would fit, the nearest first: settings, in words.
class Advice {
 public:
  Advice(const PlanOptions& wish, const StepNeed& need, const Memories& memories,
         const FitWords& words)
      : wish_(wish), need_(need), memories_(memories), words_(words) {}

  std::vector<std::string> all() const {
    std::vector<std::string> found;
    const auto add = [&](const std::optional<std::string>& text) {
      if (text) found.push_back(*text);
    };
    add(smaller_batch());
    add(more_microbatches());
    add(smaller_patch());
    add(more_stages());
    return found;
  }

 private:
  std::optional<std::string> smaller_batch() const {
    const std::int64_t batch = most_that_fits(wish_.batch - 1, [&](std::int64_t samples) {
      PlanOptions fewer = wish_;
      fewer.batch = samples;
      fewer.execution.microbatches = std::min(fewer.execution.microbatches, samples);
      return need_.fits(fewer, memories_);
    });
    if (batch == 0) return std::nullopt;
    return words_.batch(batch);
  }

  std::optional<std::string> more_microbatches() const {
    const std::int64_t most = std::min(wish_.batch / kSteadySamples, kMostAdvised);
    if (!wish_.loss_is_sum || most <= wish_.execution.microbatches) return std::nullopt;
    PlanOptions more = wish_;
    // gpipe holds all of them at once.
    const bool other_schedule = more.execution.schedule == "gpipe";
    if (other_schedule) more.execution.schedule = "1f1b";
    // The fewest: those that are too few come first.
    const std::int64_t too_few = most_that_fits(most, [&](std::int64_t count) {
      more.execution.microbatches = count;
      return !need_.fits(more, memories_);
    });
    if (too_few >= most) return std::nullopt;
    return words_.microbatches(too_few + 1) +
           (other_schedule ? " with " + words_.schedule("1f1b") : "");
  }

  std::optional<std::string> smaller_patch() const {
    const auto fits = [&](const Size3& size) {
      PlanOptions smaller = wish_;
      smaller.input = size;
      return need_.fits(smaller, memories_);
    };
    const Size3 size = largest_that_fits(wish_.input, need_.stride(), fits);
    if (!fits(size)) return std::nullopt;
    return words_.patch(size);
  }

  // Of the host's memory all stages share one, but several can compute again.
  std::optional<std::string> more_stages() const {
    const auto devices = parse_devices(wish_.execution.device);
    if (wish_.execution.partition == "counts") return std::nullopt;
    const bool on_host = devices.front().is_cpu();
    const std::size_t most = std::min(on_host ? kMostHostStages : kMostGpus, need_.links());
    PlanOptions more = wish_;
    if (wish_.execution.recompute == "never" && devices.size() == 1)
      more.execution.recompute = "auto";
    for (std::size_t k = devices.size() + 1; k <= most; ++k) {
      more.execution.device += "," + devices.back().str();
      if (!need_.fits(more, memories_)) continue;
      return on_host ? words_.device(more.execution.device) : counted(k, "such device");
    }
    return std::nullopt;
  }

  const PlanOptions& wish_;
  const StepNeed& need_;
  const Memories& memories_;
  const FitWords& words_;
};

std::string need_text(std::int64_t bytes, const Memory& memory) {
  return "needs about " + need_bytes_text(bytes) + " at the least, " + memory.device + " has " +
         bytes_text(memory.free);
}

// The device that is fullest, and what it would hold.
std::string need_text(const Fit& fit, const Memories& memories) {
  std::size_t worst = 0;
  const auto over = [&](std::size_t d) { return fit.balance.peak_bytes[d] - memories[d].free; };
  for (std::size_t d = 1; d < fit.balance.peak_bytes.size(); ++d)
    if (over(d) > over(worst)) worst = d;
  return need_text(fit.balance.peak_bytes[worst], memories[worst]);
}

// Says nothing where the step fits. `what`: "curriculum stage 1 (64x64x64, batch 16)".
std::optional<std::string> step_fault(const PlanOptions& options, const std::string& what,
                                      const Memories& memories, const FitWords& words) {
  const StepNeed need(options);
  const bool halve = is_reduced(options.execution.precision);
  const Fit fit = need.fit(options, memories, &Memory::most, halve);
  if (fit.fits) {
    if (!need.fit(options, memories, &Memory::free, halve).fits)
      log_warning(what + " may not fit: a step " + need_text(fit, memories));
    return std::nullopt;
  }
  const auto advice = Advice(options, need, memories, words).all();
  return what + ": a step " + need_text(fit, memories) + "; " +
         (advice.empty() ? std::string("a narrower network or a machine with more memory is needed")
                         : joined(advice, ", ", " or ") + " would fit");
}

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

void check_fits(const TrainConfig& config, const Dataset& dataset) {
  const Memories memories = memories_of(config.execution);
  Dataset all = dataset;
  const CaseSplit split = split_dataset(all, config.validation, config.seed);
  std::vector<std::string> faults;
  std::optional<Size3> largest;
  const auto add = [&](std::optional<std::string> fault) {
    if (fault) faults.push_back(std::move(*fault));
  };
  for (std::size_t i = 0; i < config.curriculum.size(); ++i) {
    const StageConfig& stage = config.curriculum[i];
    if (stage.is_auto_patch && !stage.patch) continue;
    if (!stage.patch && !largest) {
      std::vector<Case> training;
      for (const std::size_t index : split.training) training.push_back(all.training[index]);
      largest = largest_size(training, config.data);
    }
    const Size3 size = stage.patch ? *stage.patch : *largest;
    add(step_fault(
        plan_options_of(config, stage, size),
        "curriculum stage " + std::to_string(i + 1) + " (" +
            (stage.patch ? size_text(size, "x") : "whole volumes up to " + size_text(size, "x")) +
            ", batch " + std::to_string(stage.batch) + ")",
        memories, FitWords(i)));
  }
  add(validation_fault(config, all, split, memories));
  if (faults.empty()) return;
  std::string message = "does not fit";
  for (const std::string& fault : faults)
    message += (&fault == &faults.front() ? ": " : "; ") + fault;
  throw DoesNotFit(message);
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
  // The image, and the logits of two networks that are compared; over several devices they and the
  // weights may lie elsewhere.
  const std::int64_t beside = 4 * x * y * z * (options.net.in_channels + options.net.classes);
  const auto bytes_of = [&](const Size3& window) {
    const NetworkCosts costs = forward_costs(options.net, window, halve);
    const std::int64_t bytes = pass_bytes(costs, one_device);
    return one_device ? bytes + 2 * parameter_bytes(costs) + beside : bytes;
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
