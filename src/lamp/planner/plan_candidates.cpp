// What the user has fixed leaves one choice; the rest is tried.
#include "lamp/planner/plan_candidates.h"

#include <algorithm>
#include <iterator>
#include <numeric>
#include <tuple>
#include <utility>

#include "lamp/base/errors.h"
#include "lamp/base/setting_name.h"
#include "lamp/base/text.h"
#include "lamp/planner/overlap.h"

namespace lamp {
namespace {

constexpr std::int64_t kLargestBatch = 1000000000;  // numbers of micro-batches are ints
constexpr double kActionsOfASearch = 2e7;           // simulated at the most, a few seconds

void check_request(const PlanRequest& request) {
  if (request.devices.empty()) throw UsageError("plan: found 0 devices, expected 1 or more");
  for (const PlanDevice& device : request.devices)
    if (device.memory_bytes <= 0)
      throw UsageError("plan: device " + device.name + " has " +
                       std::to_string(device.memory_bytes) + " bytes, expected more than 0");
  if (request.batch < 1)
    throw UsageError("plan: found a batch of " + std::to_string(request.batch) +
                     ", expected 1 or more");
  if (request.batch > kLargestBatch)
    throw UsageError(setting_name("batch") + ": found " + std::to_string(request.batch) +
                     ", expected at most " + std::to_string(kLargestBatch));
  if (request.microbatches && *request.microbatches < 1)
    throw UsageError(setting_name("execution.microbatches") + ": found " +
                     std::to_string(*request.microbatches) + ", expected 1 or more");
  if (std::min<std::int64_t>(request.microbatches.value_or(1), request.batch) > kMostMicrobatches)
    throw UsageError(setting_name("execution.microbatches") + ": found " +
                     std::to_string(*request.microbatches) + ", expected at most " +
                     std::to_string(kMostMicrobatches));
  if (!(request.bytes_per_s > 0))
    throw UsageError(setting_name("bandwidth") + ": expected more than 0 bytes a second");
  if (request.partition &&
      (request.all_devices ? request.partition->size() != request.devices.size()
                           : request.partition->size() > request.devices.size()))
    throw UsageError(setting_name("execution.partition") + ": found " +
                     counted(std::ssize(*request.partition), "stage") + " for " +
                     counted(std::ssize(request.devices), "device"));
}

}  // namespace

std::vector<PlanDevice> roomiest_devices(const std::vector<PlanDevice>& devices,
                                         std::size_t count) {
  std::vector<std::size_t> order(devices.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
    return devices[a].memory_bytes > devices[b].memory_bytes;
  });
  order.resize(count);
  std::sort(order.begin(), order.end());
  std::vector<PlanDevice> chosen;
  for (const std::size_t d : order) chosen.push_back(devices[d]);
  return chosen;
}

Candidates::Candidates(const PlanRequest& request, const CostProvider& provider)
    : request_(request), provider_(provider) {
  check_request(request);
}

std::vector<std::size_t> Candidates::stage_counts() const {
  if (request_.partition) return {request_.partition->size()};
  std::vector<std::size_t> counts;
  for (std::size_t k = request_.all_devices ? request_.devices.size() : 1;
       k <= request_.devices.size(); ++k)
    counts.push_back(k);
  return counts;
}

// The fewest for each size of the largest one; the others have at most one sample less.
std::vector<int> Candidates::microbatch_counts() const {
  const auto batch = static_cast<int>(request_.batch);
  if (!request_.loss_is_sum) return {1};
  if (request_.microbatches) return {std::min(*request_.microbatches, batch)};
  std::vector<int> counts;
  int largest = 0;  // of the count before
  for (int m = 1; m <= std::min(batch, kMostChosenMicrobatches); ++m) {
    if (m > 1 && batch / m < kLeastChosenSamples) break;
    if ((batch + m - 1) / m == largest) continue;
    largest = (batch + m - 1) / m;
    counts.push_back(m);
  }
  return counts;
}

// One stage runs its micro-batches one after another: naive. One micro-batch leaves no choice.
std::vector<ScheduleKind> Candidates::schedules(std::size_t stages, int microbatches) const {
  if (request_.schedule) return {*request_.schedule};
  if (stages == 1) return {ScheduleKind::k1F1B};
  if (microbatches == 1) return {ScheduleKind::kGPipe};
  return {ScheduleKind::kGPipe, ScheduleKind::k1F1B, ScheduleKind::kZeroBubble,
          ScheduleKind::kNaive};
}

std::vector<Candidate> Candidates::all() const {
  std::vector<Candidate> result;
  for (const std::size_t stages : stage_counts())
    for (const int microbatches : microbatch_counts())
      for (const ScheduleKind schedule : schedules(stages, microbatches))
        result.push_back({stages, microbatches, schedule});
  return result;
}

PipelineSetup Candidates::setup(const Candidate& candidate) const {
  PipelineSetup setup{.schedule = candidate.schedule, .microbatches = candidate.microbatches};
  const std::size_t used = std::min(candidate.stages, request_.devices.size());
  if (request_.any_devices)
    setup.devices = roomiest_devices(request_.devices, used);
  else
    setup.devices.assign(request_.devices.begin(),
                         request_.devices.begin() + static_cast<std::ptrdiff_t>(used));
  // More than there are, for advice: like the last one.
  while (setup.devices.size() < candidate.stages) {
    PlanDevice another = request_.devices.back();
    another.name += " +" + std::to_string(setup.devices.size());
    setup.devices.push_back(another);
  }
  setup.workers = request_.workers;
  setup.replicas = request_.replicas;
  setup.slab_parts = request_.slab_parts;
  setup.slab_fixed_bytes = request_.slab_fixed_bytes;
  setup.threads = request_.threads;
  setup.bytes_per_s = request_.bytes_per_s;
  setup.batch = request_.batch;
  setup.optimizer_factor = request_.optimizer_factor;
  setup.first_device_bytes = request_.batch * request_.sample_bytes;
  setup.last_device_bytes = request_.batch * request_.label_bytes;
  return setup;
}

const CostQuery& Candidates::query(const Candidate& candidate) {
  const std::tuple key(candidate.stages, candidate.microbatches, candidate.schedule);
  if (const auto found = queries_.find(key); found != queries_.end()) return found->second;
  const PipelineSetup chosen = setup(candidate);
  const std::int64_t m = candidate.microbatches;
  return queries_
      .emplace(key, CostQuery{.samples = (request_.batch + m - 1) / m,
                              .sharing = chosen.sharing(),
                              .overlap = usual_overlap(chosen)})
      .first->second;
}

const NetworkCosts& Candidates::costs(const Candidate& candidate) {
  const CostQuery& asked = query(candidate);
  const std::tuple key(candidate.microbatches, asked.sharing, asked.overlap);
  if (const auto found = known_.find(key); found != known_.end()) return found->second;
  NetworkCosts costs = request_.clock->without([&] { return provider_(asked); });
  scale_seconds(costs, setup(candidate).mean_share());
  return known_.emplace(key, std::move(costs)).first->second;
}

std::optional<Partition> Candidates::cut(const Candidate& candidate) {
  if (!request_.cut_by) return request_.partition;
  std::vector<double> sums;
  for (const LayerCosts& layer : costs(candidate).layers) sums.push_back(request_.cut_by(layer));
  return partition_by_costs(sums, candidate.stages);
}

std::optional<Balance> Candidates::best_cut(const Candidate& candidate, double upper_bound_s) {
  const NetworkCosts& network = costs(candidate);
  const PipelineSetup chosen = setup(candidate);
  const auto fixed = cut(candidate);
  if (!fixed) {
    BalanceOptions options{.recompute = request_.recompute, .upper_bound_s = upper_bound_s};
    const double actions = 2.0 * static_cast<double>(chosen.stages()) * chosen.microbatches;
    options.most_simulations =
        std::min(options.most_simulations, static_cast<int>(kActionsOfASearch / actions));
    options.enough = [&] { return request_.clock->is_late(); };
    return balance(network, chosen, options);
  }
  const auto given = evaluate(candidate, *fixed);
  return given && given->step_s < upper_bound_s ? given : std::nullopt;
}

std::optional<Balance> Candidates::evaluate(const Candidate& candidate, const Partition& cut) {
  const NetworkCosts& network = costs(candidate);
  const PipelineSetup chosen = setup(candidate);
  if (request_.recompute_stages.empty())
    return evaluate_partition(network, chosen, cut, request_.recompute);
  Balance given = evaluate_rules(network, chosen, cut, request_.recompute_stages);
  return chosen.over_bytes(given.peak_bytes) <= 0 ? std::optional(given) : std::nullopt;
}

// Devices update what they hold at the same time.
double Candidates::update_s(const Candidate& candidate) {
  double bytes = 0;
  for (const LayerCosts& layer : costs(candidate).layers)
    bytes += static_cast<double>(layer.parameter_bytes);
  return bytes * request_.update_s_per_byte /
         static_cast<double>(setup(candidate).distinct_devices().size());
}

}  // namespace lamp
