// Sentences and the comparisons behind them.
#include "lamp/planner/plan_words.h"

#include <algorithm>
#include <functional>
#include <optional>

#include "lamp/base/setting_name.h"
#include "lamp/base/text.h"
#include "lamp/planner/fit.h"

namespace lamp {
namespace {

constexpr double kAny = std::numeric_limits<double>::infinity();
constexpr std::size_t kMostDevices = 64;  // that advice looks at

std::string times(double ratio) { return fixed(ratio, 2) + " times"; }
std::string percent(double share) { return fixed(100 * share, 0) + " %"; }
std::string seconds_text(double seconds) {
  return seconds < 0.1 ? fixed(1e3 * seconds, 2) + " ms" : fixed(seconds, 3) + " s";
}
// The fastest step with so many stages; infinity where none fits, nothing where there was no time
// to look.
std::optional<double> best_step_s(Candidates& candidates, std::size_t stages) {
  double best = kAny;
  for (const Candidate& candidate : candidates.all()) {
    if (candidate.stages != stages) continue;
    if (candidates.request().clock->is_too_late()) return std::nullopt;
    const double update = candidates.update_s(candidate);
    if (const auto cut = candidates.best_cut(candidate, best - update)) best = cut->step_s + update;
  }
  return best;
}

double work_s(const LayerCosts& layer) { return layer.forward_s + layer.backward_s; }

std::string devices_reason(const Plan& plan, Candidates& candidates) {
  const PlanRequest& request = candidates.request();
  const std::size_t stages = plan.setup.stages();
  const std::size_t slabs = plan.setup.slabs_of_replica(), replicas = plan.setup.replicas;
  std::string what = counted(stages, replicas * slabs == 1 ? "device" : "stage");
  if (slabs > 1) what += " of " + counted(slabs, "slab") + (stages > 1 ? " each" : "");
  if (replicas > 1) what = counted(replicas, "replica") + " of " + what;
  if (!request.seconds_are_measured) return what;
  std::string text = what + ": " + seconds_text(plan.step_s()) + " a step";
  const auto compare = [&](std::size_t other, const std::string& name) {
    const auto step = best_step_s(candidates, other);
    if (!step) return;
    text += *step == kAny ? "; " + name + " would not do"
                          : "; " + name + " would take " + seconds_text(*step) + " (" +
                                times(*step / plan.step_s()) + " as long)";
  };
  if (request.all_devices || request.partition) return text + ", as asked";
  if (stages > 1) compare(1, "one");
  if (stages > 2) compare(stages - 1, std::to_string(stages - 1));
  if (stages < request.devices.size()) compare(stages + 1, std::to_string(stages + 1));
  return text;
}

std::string microbatch_reason(const Plan& plan, const PlanRequest& request) {
  const int m = plan.setup.microbatches;
  if (request.batch == 1)
    return plan.setup.stages() == 1
               ? "a batch of one sample has no micro-batches"
               : "a batch of one sample has no micro-batches, so that stages work one after "
                 "another: the cut saves memory, not time";
  std::string text = (m == 1 ? "one micro-batch" : counted(m, "micro-batch")) + " of " +
                     (request.batch % m == 0 ? "" : "up to ") +
                     counted((request.batch + m - 1) / m, "sample");
  if (plan.setup.stages() > 1)
    text += ": stages wait " + percent(plan.simulation.bubble) + " of the time";
  if (!request.loss_is_sum) return text + ": the loss needs the whole batch";
  if (request.microbatches_are_steady)
    return plan.setup.stages() == 1 ? text : text + ", the fewest that are about as fast as any";
  if (request.microbatches && m < *request.microbatches)
    return text + ": the batch has no more samples than that";
  if (request.microbatches) return text + ", as asked";
  return text;
}

// The other schedules beside the chosen one, with as many stages and micro-batches.
std::string schedule_reason(const Plan& plan, Candidates& candidates) {
  std::string text = "schedule " + to_string(plan.setup.schedule);
  if (candidates.request().schedule) text += ", as asked";
  if (plan.setup.microbatches == 1) return text;  // all the same
  std::string others;
  for (const ScheduleKind kind : {ScheduleKind::kGPipe, ScheduleKind::k1F1B,
                                  ScheduleKind::kZeroBubble, ScheduleKind::kNaive}) {
    if (kind == plan.setup.schedule || candidates.request().clock->is_too_late()) continue;
    const auto cut =
        candidates.best_cut({plan.setup.stages(), plan.setup.microbatches, kind}, kAny);
    others += (others.empty() ? "" : ", ") + to_string(kind);
    const double ratio = cut ? cut->step_s / plan.simulation.makespan : 0;
    if (!cut)
      others += " would not fit";
    else if (ratio > 1.0005)
      others += " would take " + fixed(100 * (ratio - 1), 1) + " % longer";
    else if (ratio < 0.9995)
      others += " would take " + fixed(100 * (1 - ratio), 1) + " % less";
    else
      others += " is as fast and holds " + bytes_text(cut->largest_peak_bytes);
  }
  return others.empty() ? text : text + "; with as many stages and micro-batches " + others;
}

std::string recompute_reason(const Plan& plan, Candidates& candidates) {
  std::string text;
  PipelineSetup unlimited = plan.setup;
  for (PlanDevice& device : unlimited.devices) device.memory_bytes = PlanDevice{}.memory_bytes;
  const auto without =
      evaluate_partition(plan.costs, unlimited, plan.balance.partition, RecomputeRule::kNever);
  const auto device_of = plan.setup.device_of_stages();
  for (std::size_t j = 0; j < plan.setup.stages(); ++j) {
    if (plan.balance.recompute[j] == RecomputeRule::kNever) continue;
    text += (text.empty() ? "" : "; ") + std::string("stage ") + std::to_string(j) +
            " recomputes (" + to_string(plan.balance.recompute[j]) + ")";
    if (!candidates.request().recompute)
      text += ": without, " + plan.setup.devices[j].name + " would hold " +
              bytes_text(without->peak_bytes[device_of[j]]) + " of " +
              bytes_text(plan.setup.devices[j].memory_bytes);
  }
  if (candidates.request().recompute)
    return (text.empty() ? "no recomputation" : text) + ", as asked";
  return text.empty() ? "nothing needs to be recomputed: the fullest device holds " +
                            bytes_text(plan.balance.largest_peak_bytes)
                      : text;
}

// One layer cannot be cut, so a pipeline is never faster than its heaviest one.
std::string heaviest_reason(const NetworkCosts& costs) {
  double whole = costs.loss_s;
  const LayerCosts* heaviest = &costs.layers.front();
  for (const LayerCosts& layer : costs.layers) {
    whole += work_s(layer);
    if (work_s(layer) > work_s(*heaviest)) heaviest = &layer;
  }
  if (whole <= 0) return "";
  const double share = work_s(*heaviest) / whole;
  return "layer " + heaviest->name + " is " + percent(share) +
         " of the work, so that no cut between layers gets beyond " + times(1 / share) +
         " the speed of one device";
}

std::string search_reason(const Balance& balance) {
  if (balance.proven)
    return "the cut is the fastest there is under the simulated costs (" +
           counted(balance.simulations, "partition") + " simulated)";
  if (balance.simulations == 0)
    return "the cut is the one that holds least: the search for the fastest found none that fits";
  return "after " + counted(balance.simulations, "simulation") +
         " the cut is the fastest found; no cut takes less than " +
         seconds_text(balance.lower_bound_s);
}

void drop_cut(PlanRequest& request) {
  request.partition.reset();
  request.cut_by = nullptr;
}

// The device that is worst off, and what it would need.
std::string need_text(const Plan& least) {
  const auto devices = least.setup.distinct_devices();
  const auto& peaks = least.balance.peak_bytes;
  std::size_t worst = 0;
  bool are_equal = true;
  for (std::size_t d = 1; d < devices.size(); ++d) {
    are_equal = are_equal && devices[d].memory_bytes == devices[0].memory_bytes;
    if (peaks[d] - devices[d].memory_bytes > peaks[worst] - devices[worst].memory_bytes) worst = d;
  }
  const std::size_t all = devices.size() * least.setup.slabs() / least.setup.slabs_on_device();
  return (are_equal ? counted(all, "device") : "device " + devices[worst].name) + " with " +
         bytes_text(devices[worst].memory_bytes) + " would need " + need_bytes_text(peaks[worst]) +
         " at the least (" +
         (least.setup.stages() > devices.size() ? counted(least.setup.stages(), "stage") + ", "
                                                : "") +
         to_string(least.setup.schedule) +
         ", micro-batches: " + std::to_string(least.setup.microbatches) + ")";
}

using Offer = std::function<void(const PlanRequest& changed, const std::string& words,
                                 const CostProvider& costs)>;

// The first of 0 ... count - 1 that fits, where all behind it fit as well; `count` if none does.
std::size_t first_that_fits(std::size_t count, SearchClock& clock,
                            const std::function<bool(std::size_t)>& fits) {
  std::size_t first = 0, end = count;
  while (first < end && !clock.is_too_late()) {
    const std::size_t middle = first + (end - first) / 2;
    if (fits(middle))
      end = middle;
    else
      first = middle + 1;
  }
  return first;
}

void offer_smaller_batch(const PlanRequest& request, const CostProvider& provider,
                         const Offer& offer) {
  std::vector<PlanRequest> smaller;
  for (std::int64_t batch = request.batch / 2; batch >= 1; batch /= 2) {
    smaller.push_back(request);
    smaller.back().batch = batch;
  }
  const std::size_t found = first_that_fits(smaller.size(), *request.clock, [&](std::size_t i) {
    return least_fit(smaller[i], provider).fits;
  });
  if (found < smaller.size())
    offer(smaller[found],
          setting_to("batch", std::to_string(smaller[found].batch *
                                             static_cast<std::int64_t>(request.replicas))),
          provider);
}

// Which devices are meant, where they are not all alike.
std::string added_text(const std::vector<PlanDevice>& devices) {
  const std::int64_t bytes = devices.back().memory_bytes;
  const bool are_equal = std::all_of(devices.begin(), devices.end(), [&](const PlanDevice& device) {
    return device.memory_bytes == bytes;
  });
  return are_equal ? "" : ", those added of " + bytes_text(bytes) + ",";
}

void offer_more_devices(const PlanRequest& request, const Plan& least, const CostProvider& provider,
                        const Offer& offer) {
  const std::size_t most =
      request.can_add_devices ? std::min(kMostDevices, least.costs.layers.size()) : 0;
  const std::size_t now = request.devices.size();
  if (most <= now) return;
  const auto with = [&](std::size_t count) {
    PlanRequest changed = request;
    if (request.partition) drop_cut(changed);
    changed.all_devices = true;
    while (changed.devices.size() < count) {
      PlanDevice another = request.devices.back();
      another.name += " +" + std::to_string(changed.devices.size() + 1);
      changed.devices.push_back(another);
    }
    return changed;
  };
  const std::size_t more = first_that_fits(most - now, *request.clock, [&](std::size_t i) {
    return least_fit(with(now + 1 + i), provider).fits;
  });
  if (more < most - now)
    offer(with(now + 1 + more),
          std::to_string(now + 1 + more) + " such devices" + added_text(request.devices) +
              (request.partition ? ", cut anew," : ""),
          provider);
}

void offer_alternative(const PlanRequest& request, const Offer& offer) {
  const auto& alternatives = request.alternatives;
  const auto with = [&](const Alternative& alternative) {
    PlanRequest changed = request;
    for (PlanDevice& device : changed.devices)
      device.memory_bytes = static_cast<std::int64_t>(alternative.memory_share *
                                                      static_cast<double>(device.memory_bytes));
    return changed;
  };
  const std::size_t found = first_that_fits(
      alternatives.size(), *request.clock,
      [&](std::size_t i) { return least_fit(with(alternatives[i]), alternatives[i].costs).fits; });
  if (found < alternatives.size())
    offer(with(alternatives[found]), alternatives[found].advice, alternatives[found].costs);
}

}  // namespace

std::vector<std::string> reasons_for(const Plan& plan, Candidates& candidates) {
  std::vector<std::string> reasons = {devices_reason(plan, candidates),
                                      microbatch_reason(plan, candidates.request())};
  if (candidates.request().clock->was_ended())
    reasons.push_back(
        "the search was ended for taking too long, with the best so far: other numbers of devices "
        "or micro-batches may be faster; fix some with " +
        setting_name("execution.microbatches") + ", " + setting_name("execution.schedule") +
        " or " + setting_name("execution.device"));
  if (plan.setup.stages() > 1) reasons.push_back(schedule_reason(plan, candidates));
  reasons.push_back(recompute_reason(plan, candidates));
  if (plan.setup.stages() > 1) {
    if (plan.setup.slabs() == 1) reasons.push_back(heaviest_reason(plan.costs));
    reasons.push_back(candidates.request().has_cut() ? "the cut is as asked"
                                                     : search_reason(plan.balance));
  }
  return reasons;
}

std::vector<std::string> advice_for(const Plan& least, Candidates& candidates,
                                    const CostProvider& provider) {
  const PlanRequest& request = candidates.request();
  std::vector<std::string> advice = {"nothing fits: " + need_text(least)};
  const auto offer = [&](const PlanRequest& changed, const std::string& words,
                         const CostProvider& costs) {
    if (request.clock->is_too_late()) return;
    const Fit fit = least_fit(changed, costs);
    if (fit.fits)
      advice.push_back(words + " would fit (" + need_bytes_text(fit.balance.largest_peak_bytes) +
                       ")");
  };
  PlanRequest changed = request;
  changed.recompute.reset();
  if (request.recompute) offer(changed, setting_to("execution.recompute", "auto"), provider);
  changed = request;
  changed.schedule.reset();
  if (request.schedule) offer(changed, setting_to("execution.schedule", "auto"), provider);
  changed = request;
  drop_cut(changed);
  if (request.has_cut()) offer(changed, setting_to("execution.partition", "auto"), provider);
  changed = request;
  changed.microbatches = static_cast<int>(std::min<std::int64_t>(request.batch, kMostMicrobatches));
  if (request.batch > 1 && request.loss_is_sum && request.microbatches != changed.microbatches)
    offer(changed, setting_to("execution.microbatches", std::to_string(*changed.microbatches)),
          provider);
  offer_smaller_batch(request, provider, offer);
  offer_more_devices(request, least, provider, offer);
  offer_alternative(request, offer);
  if (request.clock->was_ended())
    advice.push_back(
        "the search was ended for taking too long: other numbers of devices or micro-batches may "
        "fit");
  if (advice.size() == 1 || request.devices.size() == 1)
    advice.push_back("devices of " + need_bytes_text(least.balance.largest_peak_bytes) +
                     " would fit");
  return advice;
}

}  // namespace lamp
