// A walk down the sizes, a comparison of two precisions.
#include "lamp/training/plan_choices.h"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "lamp/base/device.h"
#include "lamp/base/errors.h"
#include "lamp/base/text.h"
#include "lamp/nets/net_factory.h"
#include "lamp/nets/precision.h"
#include "lamp/planner/fit.h"
#include "lamp/training/plan_costs.h"

namespace lamp {
namespace {

using Size = std::array<std::int64_t, 3>;

// bf16 rounds to three digits, so that it has to be worth it.
constexpr double kWorthwhile = 0.97;
constexpr double kShareOfHost = 0.65;
constexpr double kShareOfGpu = 0.9;

Size multiples_below(Size size, std::int64_t stride) {
  for (std::int64_t& side : size) side = std::max(side / stride, std::int64_t{1}) * stride;
  return size;
}

// The longest axis by one stride; false where none is left.
bool shorten(Size& size, std::int64_t stride) {
  const auto longest = std::max_element(size.begin(), size.end());
  if (*longest <= stride) return false;
  *longest -= stride;
  return true;
}

bool may_fit(const PlanOptions& options, const std::shared_ptr<Network>& shapes, double share) {
  PlanRequest request = request_of(options, shapes);
  for (PlanDevice& device : request.devices)
    device.memory_bytes =
        static_cast<std::int64_t>(share * static_cast<double>(device.memory_bytes));
  return least_fit(request, shape_costs_of(options, shapes)).fits;
}

std::string largest_reason(const PlanOptions& options, const Size& most,
                           const std::string& where = "") {
  return "input " + size_text(options.input) + ": the largest up to " + size_text(most) +
         " that fits" + where + ", in multiples of " + std::to_string(stride_multiple(options.net));
}

// Then measured, where the devices are here.
NetworkPlan plan_largest(PlanOptions options) {
  const Size most = options.input;
  const std::int64_t stride = shapes_of(options)->stride_multiple;
  check_plan_options(options, stride);
  options.input = largest_input(options, options.absent_devices ? 1 : kShareWithoutWorkspaces);
  Plan plan = plan_network(options);
  while (!plan.fits && shorten(options.input, stride)) plan = plan_network(options);
  if (plan.fits) plan.reasons.push_back(largest_reason(options, most));
  return {std::move(options), std::move(plan)};
}

NetworkPlan plan_as_told(const PlanOptions& options) {
  if (options.largest_input) return plan_largest(options);
  return {options, plan_network(options)};
}

std::string seconds_text(double seconds) { return fixed(seconds, 4) + " s"; }

NetworkPlan plan_fastest_precision(PlanOptions options) {
  const Size most = options.input;
  if (options.absent_devices)
    throw UsageError(
        "--precision auto compares what this machine measures, but --devices describes devices "
        "that are not here: give fp32, bf16 or fp16");
  const Bf16Support support = bf16_support(parse_devices(options.execution.device).front());
  options.execution.precision = "fp32";
  NetworkPlan exact = plan_as_told(options);
  if (!support.is_fast) {
    if (exact.plan.fits) exact.plan.reasons.push_back("precision fp32: " + support.why);
    return exact;
  }
  options = exact.options;
  options.execution.precision = "bf16";
  Plan reduced = plan_network(options);
  if (options.largest_input)
    reduced.reasons.push_back(largest_reason(options, most, exact.plan.fits ? " in fp32" : ""));
  const double fp32_s = exact.plan.step_s(), bf16_s = reduced.step_s();
  if (reduced.fits && (!exact.plan.fits || bf16_s < kWorthwhile * fp32_s)) {
    reduced.reasons.push_back("precision bf16: " + support.why + "; " +
                              (exact.plan.fits ? "fp32 would take " + seconds_text(fp32_s) + " (" +
                                                     fixed(fp32_s / bf16_s, 2) + " times as long)"
                                               : "fp32 would not fit"));
    return {std::move(options), std::move(reduced)};
  }
  if (exact.plan.fits)
    exact.plan.reasons.push_back(
        "precision fp32: " + support.why + ", but bf16 " +
        (reduced.fits ? "would take " + seconds_text(bf16_s) : std::string("would not fit")));
  return exact;
}

}  // namespace

bool may_fit(const PlanOptions& options, double share) {
  return may_fit(options, shapes_of(options), share);
}

double usual_share(c10::Device device) { return device.is_cpu() ? kShareOfHost : kShareOfGpu; }

Size largest_that_fits(const Size& most, std::int64_t stride,
                       const std::function<bool(const Size&)>& fits) {
  std::vector<Size> sizes = {multiples_below(most, stride)};
  for (Size size = sizes.front(); shorten(size, stride);) sizes.push_back(size);
  const auto found = std::partition_point(sizes.begin(), sizes.end() - 1,
                                          [&](const Size& size) { return !fits(size); });
  return *found;
}

Size largest_input(const PlanOptions& options, double share) {
  const auto shapes = shapes_of(options);
  PlanOptions smaller = options;
  return largest_that_fits(options.input, shapes->stride_multiple, [&](const Size& size) {
    smaller.input = size;
    return may_fit(smaller, shapes, share);
  });
}

NetworkPlan choose_plan(const PlanOptions& wish) {
  return wish.execution.precision == "auto" ? plan_fastest_precision(wish) : plan_as_told(wish);
}

}  // namespace lamp
