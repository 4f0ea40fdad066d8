// Each stage's bytes, link by link within an action and action by action within a step.
#include "lamp/planner/memory_model.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>
#include <optional>
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
  const std::size_t links = costs_.layers.size();
  alone_.resize(links * (links + 1));
  for (std::size_t first = 0; first < links; ++first)
    for (std::size_t last = first + 1; last <= links; ++last)
      alone_[first * (links + 1) + last] = micro_batch({first, last}, only({first, last}, links));
}

std::int64_t MemoryModel::input_bytes(std::size_t link) const {
  return link == 0 ? costs_.input_bytes : costs_.layers[link - 1].output_bytes;
}

// here: which links lie on the stage's device and keep what they save.
MemoryModel::MicroBatchBytes MemoryModel::micro_batch(const StageRange& links,
                                                      const std::vector<bool>& here,
                                                      Courses* courses) const {
  MicroBatchBytes bytes;
  for (std::size_t link = links.first; link < links.last; ++link) {
    const LayerCosts& layer = costs_.layers[link];
    bytes.saved += layer.saved_bytes;
    bytes.parameters += layer.parameter_bytes;
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
  return bytes;
}

std::int64_t MemoryModel::weight_half_bytes(std::size_t link) const {
  const LayerCosts& layer = costs_.layers[link];
  if (!schedule_.splits_backward() || layer.weight_s <= 0) return 0;
  return (link == 0 ? 0 : input_bytes(link)) + layer.output_bytes;
}

void MemoryModel::add_forward(const StageRange& links, const std::vector<bool>& here,
                              MicroBatchBytes& bytes, Courses* courses) const {
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
    bytes.forward = std::max(bytes.forward, now);
    const std::int64_t plain = bytes.kept + passing[link - links.first];
    bytes.plain_forward = std::max(bytes.plain_forward, plain);
    if (courses == nullptr) continue;
    courses->forward.push_back({layer.forward_s, now});
    courses->plain_forward.push_back({layer.forward_s, plain});
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

void MemoryModel::add_backward(const StageRange& links, MicroBatchBytes& bytes,
                               Courses* courses) const {
  const bool is_last = links.last == costs_.layers.size();
  std::int64_t waiting = 0;  // gradients that arrived together and stay to the end
  if (!is_last) waiting += costs_.layers[links.last - 1].output_bytes;
  for (const SkipBytes& skip : costs_.skips)
    if (links.contains(skip.from) && skip.to >= links.last && skip.gradient_bytes != 0)
      waiting += skip.bytes;
  std::int64_t saved = bytes.saved;
  if (is_last) {
    bytes.first_backward = bytes.kept + saved + costs_.loss_workspace_bytes;
    saved -= costs_.layers.back().handed_bytes;  // the loss has let go of the output
    if (courses != nullptr) {
      courses->first_backward.push_back({costs_.loss_s, bytes.first_backward});
      courses->later_backward.push_back({costs_.loss_s, bytes.first_backward});
    }
  }
  bytes.later_backward = bytes.first_backward;
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
    const std::int64_t own = is_late ? 0 : layer.parameter_bytes;
    const std::int64_t now = bytes.kept + waiting + skips + saved + arrived + sent + own +
                             layer.backward_workspace_bytes + put_off;
    saved -= layer.saved_bytes;
    if (is_last && link + 1 == links.last) saved += layer.handed_bytes;
    bytes.first_backward = std::max(bytes.first_backward, now + gradients);
    bytes.later_backward = std::max(bytes.later_backward, now);
    if (courses != nullptr) {
      courses->first_backward.push_back({layer.backward_s, now + gradients});
      courses->later_backward.push_back({layer.backward_s, now});
    }
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
                                    Courses* courses) const {
  std::int64_t held = bytes.deferred;
  for (std::size_t link = links.last; link-- > links.first;) {
    const std::int64_t needed = weight_half_bytes(link);
    if (needed == 0) continue;
    const LayerCosts& layer = costs_.layers[link];
    const std::int64_t later = held + layer.parameter_bytes;
    const std::int64_t first = later + bytes.late_parameters;
    bytes.first_weight = std::max(bytes.first_weight, first);
    bytes.later_weight = std::max(bytes.later_weight, later);
    if (courses != nullptr) {
      courses->first_weight.push_back({layer.weight_s, first});
      courses->later_weight.push_back({layer.weight_s, later});
    }
    held -= needed;
    bytes.late_parameters += layer.parameter_bytes;
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
  shrink(bytes.first_backward, bytes.parameters);
  shrink(bytes.later_backward, bytes.largest_layer);
  shrink(bytes.first_weight, bytes.late_parameters);
  shrink(bytes.later_weight, bytes.largest_layer);
  return bytes;
}

std::vector<MemoryModel::ActionBytes> MemoryModel::replay(std::size_t stage,
                                                          const MicroBatchBytes& largest,
                                                          RecomputeRule rule) const {
  // Skips of a stage that keeps nothing wait at the sender while later stages catch up.
  const auto waiting = static_cast<std::int64_t>(std::min<std::size_t>(
      setup_.stages() - 1 - stage, static_cast<std::size_t>(setup_.microbatches)));
  std::int64_t held = resident(stage, largest);
  bool has_gradients = false, has_late_gradients = false, has_sent = false;
  std::vector<ActionBytes> result;
  // Micro-batches of at most two sizes.
  const MicroBatchBytes smaller = of_share(largest, shares_.back());
  for (const Action& action : schedule_.actions[stage]) {
    const MicroBatchBytes& bytes = share(action.microbatch) == 1 ? largest : smaller;
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
      held = before + (is_first ? bytes.parameters - bytes.late_parameters : 0) + bytes.deferred;
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

// Stages of one device over the time of a step.
class MemoryModel::SharedDevice {
 public:
  SharedDevice(const MemoryModel& model, const Partition& partition, bool takes_turns)
      : model_(model), takes_turns_(takes_turns), stages_(partition.size()) {
    level_.assign(partition.size(), 0);
  }

  void add(std::size_t j, const Partition& partition, const std::vector<bool>& here,
           RecomputeRule rule) {
    OfStage& stage = stages_[j].emplace();
    const MicroBatchBytes bytes =
        model_.micro_batch(partition[j], here, takes_turns_ ? nullptr : &stage.courses);
    stage.actions = model_.replay(j, bytes, rule);
    stage.sent_back = model_.sent_back(j, partition);
    level_[j] = model_.resident(j, bytes);
    update_ += model_.update_bytes(j, bytes);
  }

  std::int64_t peak(const std::vector<TimelineEntry>& timeline) {
    for (const TimelineEntry& entry : timeline)
      if (entry.kind != WorkKind::kTransfer && stages_[static_cast<std::size_t>(entry.stage)])
        follow(entry);
    if (!takes_turns_)  // else they are in order
      std::stable_sort(changes_.begin(), changes_.end(), [](const Change& a, const Change& b) {
        return std::pair(a.time, a.is_start) < std::pair(b.time, b.is_start);
      });
    std::int64_t sum = std::accumulate(level_.begin(), level_.end(), std::int64_t{0});
    std::int64_t peak = std::max(update_, sum);
    for (const Change& change : changes_) {
      sum += change.bytes - std::exchange(level_[change.holder], change.bytes);
      peak = std::max(peak, sum);
    }
    return peak;
  }

 private:
  // holder: a stage, or behind those a gradient that is on its way.
  struct Change {
    double time;
    bool is_start;
    std::size_t holder;
    std::int64_t bytes;  // from now on
  };
  struct OfStage {
    Courses courses;
    std::vector<ActionBytes> actions;
    std::vector<std::int64_t> sent_back;
    std::size_t position = 0;
  };

  void follow(const TimelineEntry& entry) {
    const auto j = static_cast<std::size_t>(entry.stage);
    OfStage& stage = *stages_[j];
    const ActionBytes& action = stage.actions[stage.position++];
    const bool is_backward = entry.kind == WorkKind::kBackward;
    if (is_backward)
      for (const std::size_t gradient : on_their_way_[{j, entry.microbatch}])
        changes_.push_back({entry.start, false, gradient, 0});
    if (takes_turns_ || action.course == nullptr)
      changes_.push_back({entry.start, true, j, action.during});
    else
      follow_course(entry, j, action, stage.courses.*action.course);
    changes_.push_back({entry.end, false, j, action.after});
    if (!is_backward) return;
    const double share = model_.share(entry.microbatch);
    for (std::size_t to = 0; to < stage.sent_back.size(); ++to) {
      if (stage.sent_back[to] == 0) continue;
      on_their_way_[{to, entry.microbatch}].push_back(level_.size());
      changes_.push_back(
          {entry.end, false, level_.size(),
           static_cast<std::int64_t>(share * static_cast<double>(stage.sent_back[to]))});
      level_.push_back(0);
    }
  }

  // Link by link, in the time that the action has.
  void follow_course(const TimelineEntry& entry, std::size_t j, const ActionBytes& action,
                     const std::vector<Moment>& course) {
    if (entry.end <= entry.start) return;
    double seconds = 0, passed = 0;
    for (const Moment& moment : course) seconds += moment.seconds;
    for (const Moment& moment : course) {
      const double share = seconds > 0 ? passed / seconds : 0;
      changes_.push_back(
          {entry.start + share * (entry.end - entry.start), true, j, action.beside + moment.bytes});
      passed += moment.seconds;
    }
  }

  const MemoryModel& model_;
  bool takes_turns_;
  std::vector<std::optional<OfStage>> stages_;  // of this device
  std::vector<std::int64_t> level_;             // before the step, by holder
  std::int64_t update_ = 0;
  std::vector<Change> changes_;
  std::map<std::pair<std::size_t, int>, std::vector<std::size_t>>
      on_their_way_;  // holders by the stage and micro-batch that they are for
};

std::int64_t MemoryModel::shared_peak(std::size_t device, const std::vector<std::size_t>& device_of,
                                      const Partition& partition,
                                      const std::vector<RecomputeRule>& recompute,
                                      const Simulation& simulation) const {
  SharedDevice shared(*this, partition, setup_.takes_turns());
  for (std::size_t j = 0; j < partition.size(); ++j) {
    if (device_of[j] != device) continue;
    std::vector<bool> here(costs_.layers.size(), false);
    for (std::size_t other = 0; other < partition.size(); ++other)
      for (std::size_t link = partition[other].first; link < partition[other].last; ++link)
        here[link] = device_of[other] == device &&
                     (other == j || other > j || recompute[other] == RecomputeRule::kNever);
    shared.add(j, partition, here, recompute[j]);
  }
  return shared.peak(simulation.timeline);
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
  PipelineCosts costs = pipeline_costs(costs_, setup_, partition, recompute);
  // In turn, times do not matter but must not be nothing.
  if (setup_.takes_turns()) costs.stages.assign(partition.size(), StageCosts{1, 1, 1});
  const Simulation simulation = simulate(setup_, schedule_, costs);
  for (std::size_t device = 0; device < devices; ++device)
    peaks[device] = shared_peak(device, device_of, partition, recompute, simulation);
  return peaks;
}

}  // namespace lamp
