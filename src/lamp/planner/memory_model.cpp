// Each stage's bytes, link by link within an action and action by action within a step.
#include "lamp/planner/memory_model.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

#include "lamp/pipeline/batch_split.h"
#include "lamp/planner/forward_pass.h"

namespace lamp {
namespace {

std::vector<bool> only(const StageRange& links, std::size_t count) {
  std::vector<bool> here(count, false);
  for (std::size_t link = links.first; link < links.last; ++link) here[link] = true;
  return here;
}

std::int64_t most_of(const std::vector<Moment>& course) {
  std::int64_t most = 0;
  for (const Moment& moment : course) most = std::max(most, moment.bytes);
  return most;
}

// Of each micro-batch; the first is a largest one.
std::vector<double> shares_of(const PipelineSetup& setup) {
  std::vector<double> shares(static_cast<std::size_t>(setup.microbatches), 1);
  if (setup.batch == 0) return shares;
  const std::vector<MicroBatch> parts = split_batch(setup.batch, setup.microbatches);
  for (std::size_t i = 0; i < parts.size(); ++i)
    shares[i] = static_cast<double>(parts[i].count) / static_cast<double>(parts[0].count);
  return shares;
}

// Under naive only one micro-batch is there at a time, so that the first one, another and the last
// one stand for all.
Schedule replayed_schedule(const PipelineSetup& setup) {
  constexpr int kDifferent = 3;
  const int m = setup.microbatches;
  const bool is_short = setup.schedule == ScheduleKind::kNaive && m > kDifferent;
  Schedule schedule =
      make_schedule(setup.schedule, static_cast<int>(setup.stages()), is_short ? kDifferent : m);
  schedule.microbatches = m;
  if (!is_short) return schedule;
  for (auto& actions : schedule.actions)
    for (Action& action : actions)
      if (action.microbatch == kDifferent - 1) action.microbatch = m - 1;
  return schedule;
}

}  // namespace

MemoryModel::MemoryModel(NetworkCosts costs, PipelineSetup setup)
    : costs_(std::move(costs)),
      setup_(std::move(setup)),
      shares_(shares_of(setup_)),
      schedule_(replayed_schedule(setup_)) {
  if (setup_.takes_turns() && setup_.distinct_devices().size() < setup_.stages())
    in_turn_ = one_at_a_time(schedule_);
  const std::size_t links = costs_.layers.size();
  alone_.resize(links * (links + 1));
  Courses courses;
  for (std::size_t first = 0; first < links; ++first)
    for (std::size_t last = first + 1; last <= links; ++last)
      alone_[first * (links + 1) + last] =
          micro_batch({first, last}, only({first, last}, links), courses);
}

std::int64_t MemoryModel::input_bytes(std::size_t link) const {
  return link == 0 ? costs_.input_bytes : costs_.layers[link - 1].output_bytes;
}

std::int64_t MemoryModel::gradients_of(const LayerCosts& layer) const {
  return static_cast<std::int64_t>(setup_.slabs_on_device()) * layer.parameter_bytes;
}

// here: which links lie on the stage's device and keep what they save.
MemoryModel::MicroBatchBytes MemoryModel::micro_batch(const StageRange& links,
                                                      const std::vector<bool>& here,
                                                      Courses& courses) const {
  MicroBatchBytes bytes;
  courses.clear();
  for (std::size_t link = links.first; link < links.last; ++link) {
    const LayerCosts& layer = costs_.layers[link];
    bytes.saved += layer.saved_bytes;
    bytes.parameters += layer.parameter_bytes;
    bytes.gradients += gradients_of(layer);
    bytes.largest_layer = std::max(bytes.largest_layer, layer.parameter_bytes);
    bytes.buffers += layer.buffer_bytes;
    bytes.deferred += weight_half_bytes(link);
  }
  if (links.last < here.size() && !here[links.last])
    bytes.saved -= costs_.layers[links.last - 1].handed_bytes;
  for (const SkipBytes& skip : costs_.skips)
    if (links.contains(skip.from) && skip.to >= links.last && !here[skip.to])
      bytes.sent_skips += skip.bytes;
  add_forward(links, here, bytes, courses);
  add_backward(links, bytes, courses);
  add_weight_halves(links, bytes, courses);
  bytes.forward = most_of(courses.forward);
  bytes.plain_forward = most_of(courses.plain_forward);
  bytes.first_backward = most_of(courses.first_backward);
  bytes.later_backward = most_of(courses.later_backward);
  bytes.first_weight = most_of(courses.first_weight);
  bytes.later_weight = most_of(courses.later_weight);
  return bytes;
}

std::int64_t MemoryModel::weight_half_bytes(std::size_t link) const {
  const LayerCosts& layer = costs_.layers[link];
  if (!schedule_.splits_backward() || layer.weight_s <= 0) return 0;
  return (link == 0 ? 0 : input_bytes(link)) + layer.output_bytes;
}

void MemoryModel::add_forward(const StageRange& links, const std::vector<bool>& here,
                              MicroBatchBytes& bytes, Courses& courses) const {
  // The first stage's input is a view of the mini-batch. What a stage got from another on its
  // device is there anyway if that saved it.
  if (links.first > 0 && (!here[links.first - 1] || costs_.layers[links.first - 1].drops_output))
    bytes.kept = input_bytes(links.first);
  const auto passing = forward_pass_bytes(costs_, links);
  std::int64_t saved = 0;
  for (std::size_t link = links.first; link < links.last; ++link) {
    const LayerCosts& layer = costs_.layers[link];
    std::int64_t stashed = 0, waiting = 0;  // by this link; by earlier ones
    for (const SkipBytes& skip : costs_.skips) {
      if (skip.to == link && skip.from < links.first && (!here[skip.from] || !skip.is_handed_on))
        bytes.kept += skip.bytes;
      if (skip.is_handed_on || !links.contains(skip.from)) continue;
      if (skip.from == link) stashed += skip.bytes;
      if (skip.from < link && skip.to >= link) waiting += skip.bytes;
    }
    std::int64_t now = bytes.kept + saved + waiting + layer.forward_workspace_bytes;
    saved += layer.saved_bytes;
    now += std::max(layer.saved_bytes + stashed, layer.output_bytes);
    if (link > links.first && costs_.layers[link - 1].drops_output) now += input_bytes(link);
    courses.forward.push_back({layer.forward_s, now});
    courses.plain_forward.push_back({layer.forward_s, bytes.kept + passing[link - links.first]});
  }
}

// A view of a larger storage keeps all of that, unless it is for another stage: that gets a copy
// (pipeline/stage.cpp).
std::int64_t MemoryModel::gradient_bytes(const SkipBytes& skip, std::size_t link,
                                         const StageRange& links) const {
  const std::int64_t storage = skip.gradient_bytes.value_or(skip.bytes);
  const std::int64_t copied = skip.from < links.first && storage > skip.bytes ? skip.bytes : 0;
  if (link == skip.to) return skip.gradient_bytes && storage > 0 ? skip.bytes + copied : 0;
  // Of the storage, what is there once the gradient of the input has gone, or beside it.
  std::int64_t rest = copied > 0 ? 0 : storage;
  if (link + 1 == skip.to && skip.shares_gradient)
    rest = std::max<std::int64_t>(0, storage - input_bytes(skip.to));
  return rest + copied;
}

void MemoryModel::add_backward(const StageRange& links, const MicroBatchBytes& bytes,
                               Courses& courses) const {
  const bool is_last = links.last == costs_.layers.size();
  std::int64_t waiting = 0;  // gradients that arrived together and stay to the end
  if (!is_last) waiting += costs_.layers[links.last - 1].output_bytes;
  for (const SkipBytes& skip : costs_.skips)
    if (links.contains(skip.from) && skip.to >= links.last && skip.gradient_bytes != 0)
      waiting += skip.bytes;
  std::int64_t saved = bytes.saved;
  if (is_last) {
    const Moment loss{costs_.loss_s, bytes.kept + saved + costs_.loss_workspace_bytes};
    courses.first_backward.push_back(loss);
    courses.later_backward.push_back(loss);
    saved -= costs_.layers.back().handed_bytes;  // the loss has let go of the output
  }
  std::int64_t gradients = 0;  // of parameters, from this micro-batch
  std::int64_t put_off = 0;    // for weight halves of the links behind, not saved any more
  bool input_follows = false;  // of the link behind, once nothing else keeps it
  for (std::size_t link = links.last; link-- > links.first;) {
    const LayerCosts& layer = costs_.layers[link];
    std::int64_t skips = 0;  // gradients of skips that wait for their stash, or to be sent
    for (const SkipBytes& skip : costs_.skips)
      if (skip.to >= link && skip.to < links.last && (skip.from <= link || skip.from < links.first))
        skips += gradient_bytes(skip, link, links);
    const std::int64_t arrived = link + 1 == links.last && !is_last ? 0 : layer.output_bytes;
    const std::int64_t sent = link == 0 ? 0 : input_bytes(link);
    const bool is_late = weight_half_bytes(link) > 0;
    const std::int64_t own = is_late ? 0 : gradients_of(layer);
    const std::int64_t workspace =
        is_late ? layer.input_half_workspace_bytes : layer.backward_workspace_bytes;
    const std::int64_t now =
        bytes.kept + waiting + skips + saved + arrived + sent + own + workspace + put_off;
    saved -= layer.saved_bytes;
    if (is_last && link + 1 == links.last) saved += layer.handed_bytes;
    courses.first_backward.push_back({layer.backward_s, now + gradients});
    courses.later_backward.push_back({layer.backward_s, now});
    gradients += own;
    if (input_follows && layer.saved_bytes >= layer.output_bytes) {
      put_off += layer.output_bytes;
      input_follows = false;
    }
    if (!is_late) continue;
    put_off += arrived;
    input_follows = true;
  }
}

// In the order of the backward; each lets go of what it needed.
void MemoryModel::add_weight_halves(const StageRange& links, MicroBatchBytes& bytes,
                                    Courses& courses) const {
  std::int64_t held = bytes.deferred;
  for (std::size_t link = links.last; link-- > links.first;) {
    const std::int64_t needed = weight_half_bytes(link);
    if (needed == 0) continue;
    const LayerCosts& layer = costs_.layers[link];
    const std::int64_t later = held + gradients_of(layer) + layer.weight_half_workspace_bytes;
    courses.first_weight.push_back({layer.weight_s, later + bytes.late_parameters});
    courses.later_weight.push_back({layer.weight_s, later});
    held -= needed;
    bytes.late_parameters += gradients_of(layer);
  }
}

std::int64_t MemoryModel::resident(std::size_t stage, const MicroBatchBytes& bytes) const {
  const auto state = static_cast<std::int64_t>(static_cast<double>(bytes.parameters) *
                                               (1 + setup_.optimizer_factor));
  std::int64_t batch = 0;
  if (stage == 0) {
    const double whole = std::accumulate(shares_.begin(), shares_.end(), 0.0);
    batch += setup_.first_device_bytes +
             static_cast<std::int64_t>(std::ceil(whole * static_cast<double>(costs_.input_bytes)));
  }
  if (stage + 1 == setup_.stages()) batch += setup_.last_device_bytes;
  return state + 2 * bytes.buffers + batch;
}

// Activations shrink with the samples, parameters' gradients do not: of a backward's peak they are
// all of the parameters at most, so that this is never too little.
MemoryModel::MicroBatchBytes MemoryModel::of_share(MicroBatchBytes bytes, double share) const {
  if (share == 1) return bytes;
  const auto shrink = [share](std::int64_t& part, std::int64_t fixed = 0) {
    part = fixed + static_cast<std::int64_t>(std::ceil(share * static_cast<double>(part - fixed)));
  };
  for (std::int64_t* part : {&bytes.kept, &bytes.saved, &bytes.sent_skips, &bytes.forward,
                             &bytes.plain_forward, &bytes.deferred})
    shrink(*part);
  const auto slabs = static_cast<std::int64_t>(setup_.slabs_on_device());
  shrink(bytes.first_backward, bytes.gradients);
  shrink(bytes.later_backward, slabs * bytes.largest_layer);
  shrink(bytes.first_weight, bytes.late_parameters);
  shrink(bytes.later_weight, slabs * bytes.largest_layer);
  return bytes;
}

std::vector<ActionBytes> MemoryModel::replay(std::size_t stage, const MicroBatchBytes& largest,
                                             RecomputeRule rule) const {
  // Skips of a stage that keeps nothing wait at the sender while later stages catch up.
  const auto waiting = static_cast<std::int64_t>(std::min<std::size_t>(
      setup_.stages() - 1 - stage, static_cast<std::size_t>(setup_.microbatches)));
  std::int64_t held = resident(stage, largest);
  bool has_gradients = false, has_late_gradients = false, has_sent = false;
  std::vector<ActionBytes> result;
  result.reserve(2 * schedule_.actions[stage].size());
  // Micro-batches of at most two sizes.
  const MicroBatchBytes smaller = of_share(largest, shares_.back());
  for (const Action& action : schedule_.actions[stage]) {
    const bool is_largest = shares_[static_cast<std::size_t>(action.microbatch)] == 1;
    const MicroBatchBytes& bytes = is_largest ? largest : smaller;
    const std::int64_t full = bytes.kept + bytes.saved;
    const bool again = recomputes(rule, action.microbatch, setup_.microbatches);
    if (action.kind == ActionKind::kForward) {
      if (again && !std::exchange(has_sent, true)) held += waiting * largest.sent_skips;
      const std::int64_t before = held;
      held += again ? bytes.kept : full;
      result.push_back({std::max(before + (again ? bytes.plain_forward : bytes.forward), held),
                        held, before, again ? &Courses::plain_forward : &Courses::forward});
    } else if (action.kind == ActionKind::kBackward) {
      if (again) {
        const std::int64_t before = held - bytes.kept;
        held += bytes.saved;
        result.push_back({std::max(before + bytes.forward, held), held, before, &Courses::forward});
      }
      const std::int64_t before = held - full;
      const bool is_first = !std::exchange(has_gradients, true);
      held = before + (is_first ? bytes.gradients - bytes.late_parameters : 0) + bytes.deferred;
      result.push_back(
          {std::max(before + (is_first ? bytes.first_backward : bytes.later_backward), held), held,
           before, is_first ? &Courses::first_backward : &Courses::later_backward});
    } else {
      const std::int64_t before = held - bytes.deferred;
      const bool is_first = !std::exchange(has_late_gradients, true);
      held = before + (is_first ? bytes.late_parameters : 0);
      result.push_back(
          {std::max(before + (is_first ? bytes.first_weight : bytes.later_weight), held), held,
           before, is_first ? &Courses::first_weight : &Courses::later_weight});
    }
  }
  return result;
}

// The optimizer's step: no activations, one temporary as large as the largest parameter.
std::int64_t MemoryModel::update_bytes(std::size_t stage, const MicroBatchBytes& bytes) const {
  return resident(stage, bytes) + bytes.parameters + bytes.largest_layer;
}

std::int64_t MemoryModel::stage_peak_bytes(std::size_t stage, const StageRange& links,
                                           RecomputeRule rule) const {
  const MicroBatchBytes& bytes = alone_[links.first * (costs_.layers.size() + 1) + links.last];
  std::int64_t peak = update_bytes(stage, bytes);
  for (const ActionBytes& action : replay(stage, bytes, rule)) peak = std::max(peak, action.during);
  return peak;
}

std::vector<std::int64_t> MemoryModel::sent_back(std::size_t stage,
                                                 const Partition& partition) const {
  std::vector<std::int64_t> bytes(stage, 0);
  const StageRange& links = partition[stage];
  if (stage > 0) bytes[stage - 1] = input_bytes(links.first);
  for (const SkipBytes& skip : costs_.skips)
    if (links.contains(skip.to) && skip.from < links.first && skip.gradient_bytes != 0)
      bytes[stage_of(partition, skip.from)] += skip.bytes;
  return bytes;
}

std::int64_t MemoryModel::shared_peak(std::size_t device, const std::vector<std::size_t>& device_of,
                                      const Partition& partition,
                                      const std::vector<RecomputeRule>& recompute,
                                      const std::vector<TimelineEntry>& timeline) const {
  SharedDevice shared(partition.size(), shares_);
  for (std::size_t j = 0; j < partition.size(); ++j) {
    if (device_of[j] != device) continue;
    std::vector<bool> here(costs_.layers.size(), false);
    for (std::size_t other = 0; other < partition.size(); ++other)
      for (std::size_t link = partition[other].first; link < partition[other].last; ++link)
        here[link] = device_of[other] == device &&
                     (other == j || other > j || recompute[other] == RecomputeRule::kNever);
    Courses courses;
    const MicroBatchBytes bytes = micro_batch(partition[j], here, courses);
    if (!in_turn_.empty()) courses = {};  // no two actions overlap
    shared.add(j, {.before = resident(j, bytes),
                   .update = update_bytes(j, bytes),
                   .actions = replay(j, bytes, recompute[j]),
                   .courses = std::move(courses),
                   .sent_back = sent_back(j, partition)});
  }
  return shared.peak(timeline);
}

std::vector<TimelineEntry> MemoryModel::timeline(
    const Partition& partition, const std::vector<RecomputeRule>& recompute) const {
  if (in_turn_.empty())
    return simulate(schedule_, pipeline_costs(costs_, setup_, partition, recompute)).timeline;
  // Times do not matter, but must not be nothing.
  const PipelineCosts equal{.stages = std::vector(partition.size(), StageCosts{1, 1, 1}),
                            .recompute = recompute};
  return simulate_in_turn(schedule_, in_turn_, equal).timeline;
}

std::vector<std::int64_t> MemoryModel::device_peak_bytes(
    const Partition& partition, const std::vector<RecomputeRule>& recompute) const {
  const auto device_of = setup_.device_of_stages();
  const std::size_t devices = setup_.distinct_devices().size();
  std::vector<std::int64_t> peaks(devices, 0);
  if (devices == setup_.stages()) {
    for (std::size_t j = 0; j < partition.size(); ++j)
      peaks[j] = stage_peak_bytes(j, partition[j], recompute[j]);
    return peaks;
  }
  const std::vector<TimelineEntry> entries = timeline(partition, recompute);
  for (std::size_t device = 0; device < devices; ++device)
    peaks[device] = shared_peak(device, device_of, partition, recompute, entries);
  return peaks;
}

}  // namespace lamp
