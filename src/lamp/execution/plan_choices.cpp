// A walk down the sizes.
#include "lamp/execution/plan_choices.h"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "lamp/base/device.h"
#include "lamp/base/errors.h"
#include "lamp/base/setting_name.h"
#include "lamp/base/text.h"
#include "lamp/execution/grid_choice.h"
#include "lamp/execution/plan_costs.h"
#include "lamp/execution/shape_fit.h"
#include "lamp/execution/slab_costs.h"
#include "lamp/execution/slab_shares.h"
#include "lamp/inference/patch_choice.h"
#include "lamp/nets/net_factory.h"
#include "lamp/nets/precision.h"
#include "lamp/planner/fit.h"

namespace lamp {
namespace {

constexpr double kShareOfHost = 0.65;
constexpr double kShareOfGpu = 0.9;

Size3 multiples_below(Size3 size, std::int64_t stride) {
  for (std::int64_t& side : size) side = std::max(side / stride, std::int64_t{1}) * stride;
  return size;
}

bool may_fit(const PlanOptions& options, const std::shared_ptr<Network>& shapes, double share) {
  PlanRequest request = request_of(options, shapes);
  for (PlanDevice& device : request.devices)
    device.memory_bytes =
        static_cast<std::int64_t>(share * static_cast<double>(device.memory_bytes));
  return least_fit(request, shape_costs_of(options, shapes)).fits;
}

std::string largest_reason(const PlanOptions& options, const Size3& most) {
  return "input " + size_text(options.input) + ": the largest up to " + size_text(most) +
         " that fits, in multiples of " + std::to_string(stride_multiple(options.net));
}

// Then measured, where the devices are here.
Plan plan_largest(PlanOptions& options, Seconds seconds) {
  const Size3 most = options.input;
  const std::int64_t stride = shapes_of(options)->stride_multiple;
  check_plan_options(options);
  if (std::any_of(most.begin(), most.end(), [&](std::int64_t side) { return side < stride; }))
    throw UsageError(setting_name("input") + ": found " + size_text(most) +
                     ", but the largest input is sought in " + "multiples of " +
                     std::to_string(stride) + "; give more a side");
  options.input = largest_input(options, options.absent_devices ? 1 : kShareWithoutWorkspaces);
  Plan plan = plan_network(options, seconds);
  while (!plan.fits && shorten(options.input, stride)) plan = plan_network(options, seconds);
  if (plan.fits) plan.reasons.push_back(largest_reason(options, most));
  return plan;
}

// By what the device can do, so that the answer is the same every time.
std::string decide_precision(PlanOptions& options) {
  if (options.execution.precision != "auto") return "";
  if (options.absent_devices)
    throw UsageError(setting_to("execution.precision", "auto") +
                     " asks what this machine multiplies, but " + setting_name("absent_devices") +
                     " describes devices that "
                     "are not here: give fp32, bf16 or fp16");
  const c10::Device device = parse_devices(options.execution.device).front();
  options.execution.precision = chosen_precision("auto", device);
  return "precision " + options.execution.precision + ": " + bf16_support(device).why;
}

void decide_layout(PlanOptions& options) {
  if (options.execution.layout != "auto") return;
  if (options.absent_devices)
    options.execution.layout = to_string(usual_layout(c10::kCUDA));
  else if (options.execution.costs == "shapes")
    options.execution.layout =
        to_string(usual_layout(parse_devices(options.execution.device).front().type()));
  else
    options.execution.layout = to_string(training_layout(options.execution, options.net));
}

DeviceGrid planned_grid(const Plan& plan) {
  return {.replicas = static_cast<std::int64_t>(plan.setup.replicas),
          .stages = static_cast<std::int64_t>(plan.setup.stages()),
          .slabs = static_cast<std::int64_t>(plan.setup.slabs_of_replica())};
}

}  // namespace

bool may_fit(const PlanOptions& options, double share) {
  return may_fit(options, shapes_of(options), share);
}

double usual_share(c10::Device device) { return device.is_cpu() ? kShareOfHost : kShareOfGpu; }

Size3 largest_that_fits(const Size3& most, std::int64_t stride,
                        const std::function<bool(const Size3&)>& fits) {
  std::vector<Size3> sizes = {multiples_below(most, stride)};
  for (Size3 size = sizes.front(); shorten(size, stride);) sizes.push_back(size);
  const auto found = std::partition_point(sizes.begin(), sizes.end() - 1,
                                          [&](const Size3& size) { return !fits(size); });
  return *found;
}

Size3 largest_input(const PlanOptions& options, double share) {
  const auto shapes = shapes_of(options);
  PlanOptions smaller = options;
  return largest_that_fits(options.input, shapes->stride_multiple, [&](const Size3& size) {
    smaller.input = size;
    return may_fit(smaller, shapes, share);
  });
}

NetworkPlan choose_plan(const PlanOptions& wish, Seconds seconds) {
  PlanOptions options = wish;
  if (options.execution.split && !options.largest_input) check_slabs(options);
  const std::string why = decide_precision(options);
  // What cannot fit is not measured: that would fill the memory for minutes before it is said. A
  // run has asked already.
  if (seconds == Seconds::kMeasured && !options.absent_devices && !options.largest_input &&
      surely_too_large(options))
    options.execution.costs = "shapes";
  decide_layout(options);
  measure_device_speeds(options);
  Plan plan =
      options.largest_input ? plan_largest(options, seconds) : plan_network(options, seconds);
  if (plan.fits && !why.empty()) plan.reasons.push_back(why);
  if (options.execution.auto_split && plan.setup.slabs() > 1)
    options = with_grid(options, planned_grid(plan));
  if (options.execution.split && options.largest_input) check_slabs(options);
  ResolvedExecution execution = resolved(options, plan);
  return {std::move(options), std::move(plan), std::move(execution)};
}

}  // namespace lamp
