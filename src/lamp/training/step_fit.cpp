// A search for the nearest settings that fit.
#include "lamp/training/step_fit.h"

#include <algorithm>
#include <functional>
#include <memory>
#include <utility>

#include "lamp/base/device.h"
#include "lamp/base/host_memory.h"
#include "lamp/base/log.h"
#include "lamp/base/size3.h"
#include "lamp/base/text.h"
#include "lamp/execution/grid_choice.h"
#include "lamp/execution/plan_choices.h"
#include "lamp/execution/plan_costs.h"
#include "lamp/execution/shape_fit.h"
#include "lamp/execution/slab_costs.h"
#include "lamp/planner/fit.h"
#include "lamp/planner/microbatch_choice.h"

namespace lamp {
namespace {

constexpr double kNear = 0.85;               // of what is free
constexpr std::size_t kMostHostStages = 4;   // that advice looks at
constexpr std::size_t kMostGpus = 16;        // the same
constexpr std::int64_t kSteadySamples = 2;   // of a micro-batch, for batch norm
constexpr std::int64_t kMostAdvised = 4096;  // micro-batches

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
  // In any way that "auto" may share the devices out.
  bool fits_on_lanes(const PlanOptions& options, const Memories& memories, bool halve) const {
    const auto grids = lane_grids(options, *shapes_);
    return std::any_of(grids.begin(), grids.end(), [&](const DeviceGrid& grid) {
      return fit(with_grid(options, grid), memories, &Memory::most, halve).fits;
    });
  }
  bool fits(const PlanOptions& options, const Memories& memories) const {
    return fit(options, memories, &Memory::advised, /*halve=*/false).fits;
  }
  // With the micro-batches that the run itself will choose, from what is free: it takes the fewest
  // that fit, not as many as would hold least.
  PlanOptions as_chosen(PlanOptions options, const Memories& memories) const {
    ExecutionConfig& execution = options.execution;
    if (grid_of(options).stages == 1 || execution.microbatches > 0) return options;
    options.device_memory_bytes = memories.front().free;
    PlanRequest request = request_of(options, shapes_);
    request.update_s_per_byte = update_s_per_byte(options, /*measured=*/false);
    execution.microbatches = steady_microbatches(request, shape_costs_of(options, shapes_));
    return options;
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

// What would fit, the nearest first: settings, in words. What cannot help is not tried: each try is
// a search of its own.
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
    const bool can_be_split = samples_fit();
    add(smaller_batch());
    if (can_be_split) add(more_microbatches());
    add(smaller_patch());
    if (can_be_split) add(more_stages());
    return found;
  }

 private:
  // Images and labels of the whole batch are there however it is split, and whatever is cut.
  bool samples_fit() const {
    const double bytes = static_cast<double>(wish_.batch) *
                         static_cast<double>(wish_.input.voxels()) *
                         static_cast<double>(4 * wish_.net.in_channels);
    return bytes <= static_cast<double>(memories_.front().advised);
  }

  std::optional<std::string> smaller_batch() const {
    const std::int64_t least = wish_.execution.split ? wish_.execution.split->replicas : 1;
    const std::int64_t batch = most_that_fits(wish_.batch - 1, [&](std::int64_t samples) {
      if (samples < least) return true;  // replicas need one each: never advised
      PlanOptions fewer = wish_;
      fewer.batch = samples;
      fewer.execution.microbatches = std::min(fewer.execution.microbatches, samples);
      return need_.fits(fewer, memories_);
    });
    if (batch < least) return std::nullopt;
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

  // Stages on the host share its memory; what they can do is compute again. They are judged with
  // the micro-batches that a run takes, as those alone would do on one device, too.
  std::optional<std::string> more_stages() const {
    const auto devices = parse_devices(wish_.execution.device);
    if (wish_.execution.partition == "counts" || wish_.execution.split) return std::nullopt;
    const bool on_host = devices.front().is_cpu();
    const std::size_t most = std::min(on_host ? kMostHostStages : kMostGpus, need_.links());
    PlanOptions more = wish_;
    for (std::size_t k = devices.size() + 1; k <= most; ++k) {
      more.execution.device += "," + devices.back().str();
      if (!need_.fits(on_host ? need_.as_chosen(more, memories_) : more, memories_)) continue;
      return on_host ? words_.device(more.execution.device) : counted(k, "such device");
    }
    return std::nullopt;
  }

  const PlanOptions& wish_;
  const StepNeed& need_;
  const Memories& memories_;
  const FitWords& words_;
};

// The device that is fullest, and what it would hold.
std::string need_text(const Fit& fit, const Memories& memories) {
  std::size_t worst = 0;
  const auto over = [&](std::size_t d) { return fit.balance.peak_bytes[d] - memories[d].free; };
  for (std::size_t d = 1; d < fit.balance.peak_bytes.size(); ++d)
    if (over(d) > over(worst)) worst = d;
  return need_text(fit.balance.peak_bytes[worst], memories[worst]);
}

// Of each stage the one that a plan looks at, those of the first replica.
std::vector<c10::Device> first_slabs_devices(const ExecutionConfig& config) {
  const auto devices = parse_devices(config.device);
  const DeviceGrid grid = grid_of(config, std::ssize(devices));
  std::vector<c10::Device> first;
  for (std::int64_t stage = 0; stage < grid.stages; ++stage)
    first.push_back(devices[grid.row(0, stage, 0)]);
  return first;
}

}  // namespace

Memories memories_of(const ExecutionConfig& config) {
  Memories memories;
  for (const c10::Device device : first_slabs_devices(config)) {
    if (std::any_of(memories.begin(), memories.end(),
                    [&](const Memory& known) { return known.device == device.str(); }))
      continue;
    const std::int64_t free = device_memory(config, device);
    memories.push_back({.device = device.str(),
                        .free = free,
                        .near = static_cast<std::int64_t>(kNear * static_cast<double>(free)),
                        .most = free,
                        .advised = free});
    if (config.memory_bytes) continue;
    const double share = device.is_cpu() ? tensor_share(config.device) : 1;
    const auto most =
        device.is_cpu()
            ? static_cast<std::int64_t>(share * static_cast<double>(most_memory_bytes()))
            : free;
    if (share < 1) memories.back().note = " for tensors (stages on one host share a heap)";
    // Of a limit that nothing can stretch, holes of the heap take what the estimate may be too
    // high.
    const double error = has_address_limit() ? 0 : kModelError;
    memories.back().most = static_cast<std::int64_t>(static_cast<double>(most) / (1 - error));
    memories.back().advised =
        static_cast<std::int64_t>(static_cast<double>(free) * usual_share(device));
  }
  return memories;
}

const Memory& roomiest(const Memories& memories) {
  return *std::max_element(memories.begin(), memories.end(),
                           [](const Memory& a, const Memory& b) { return a.most < b.most; });
}

std::string need_text(std::int64_t bytes, const Memory& memory) {
  return "needs about " + need_bytes_text(bytes) + " at the least, " + memory.device + " has " +
         bytes_text(memory.free) + memory.note;
}

std::optional<std::string> step_fault(const PlanOptions& options, const std::string& what,
                                      const Memories& memories, const FitWords& words) {
  if (options.execution.split) check_slabs(options);
  const StepNeed need(options);
  const bool halve = is_reduced(options.execution.precision);
  const Fit fit = need.fit(options, memories, &Memory::most, halve);
  if (fit.fits) {
    const Fit own = need.fit(need.as_chosen(options, memories), memories, &Memory::near, halve);
    if (!own.fits)
      log_warning(what + " may not fit: a step " + need_text(own, memories) +
                  ", and real ones hold somewhat more than is predicted");
    return std::nullopt;
  }
  if (need.fits_on_lanes(options, memories, halve)) return std::nullopt;
  const auto advice = Advice(options, need, memories, words).all();
  return what + ": a step " + need_text(fit, memories) + "; " +
         (advice.empty() ? std::string("a narrower network or a machine with more memory is needed")
                         : joined(advice, ", ", " or ") + " would fit");
}

}  // namespace lamp
