// Lanes built one after another, their exchanges, and what comes of a step.
#include "lamp/pipeline/lane_set.h"

#include <algorithm>
#include <utility>

#include "lamp/pipeline/sent_statistics.h"

namespace lamp {

std::size_t LaneSet::row(std::size_t lane, std::size_t stage) const {
  const auto slabs = static_cast<std::size_t>(options_.slabs);
  return (lane / slabs * options_.partition.size() + stage) * slabs + lane % slabs;
}

LaneSet::LaneSet(const std::shared_ptr<Sequence>& chain, const PipelineOptions& options)
    : chain_(chain), options_(options) {
  const std::size_t stages = options_.partition.size();
  if (options_.links) {
    const auto slabs = static_cast<std::size_t>(options_.slabs);
    const std::size_t own = options_.links->row(), stage = own / slabs % stages;
    build_lane(static_cast<int>(own / slabs / stages), static_cast<int>(own % slabs),
               {stage, stage + 1});
    return;
  }
  const bool has_several = options_.replicas * options_.slabs > 1;
  for (std::size_t j = 0; j < stages && has_several; ++j)
    sums_.push_back(std::make_unique<GradientSum>());
  for (int replica = 0; replica < options_.replicas; ++replica) {
    for (std::size_t j = 0; j < stages && options_.slabs > 1; ++j)
      meetings_.push_back(std::make_shared<SlabMeeting>(options_.slabs));
    for (int slab = 0; slab < options_.slabs; ++slab) build_lane(replica, slab, {0, stages});
  }
}

SlabsMaker LaneSet::slabs_maker(std::size_t meeting, int slab, c10::Device device) const {
  if (options_.slabs == 1) return nullptr;
  if (options_.links)
    return [links = options_.links, device](int microbatch, const SlabCut& cut) {
      return links->slabs(microbatch, cut, device);
    };
  return [met = meetings_[meeting], slab, device](int microbatch, const SlabCut& cut) {
    return std::make_shared<InProcessSlabs>(met, microbatch, slab, cut, device);
  };
}

void LaneSet::build_lane(int replica, int slab, const StageRange& stages) {
  const std::size_t count = options_.partition.size();
  const bool is_first = lanes_.empty();
  TORCH_CHECK(is_first || options_.make_chain,
              "slabs and replicas need a way to make further chains");
  Lane lane{.index = static_cast<std::size_t>(replica * options_.slabs + slab),
            .chain = is_first ? chain_ : options_.make_chain()};
  std::vector<std::string> skips;
  for (const Skip& skip : lane.chain->skips()) skips.push_back(skip.name);
  if (options_.links)
    lane.transfer = options_.links->transfer(std::move(skips));
  else
    lane.transfer = std::make_unique<InProcessTransfer>();
  for (std::size_t j = stages.first; j < stages.last; ++j) {
    const std::size_t own = row(lane.index, j);
    const c10::Device device = options_.devices[own];
    lane.stages.push_back(std::make_unique<Stage>(
        lane.chain, options_.partition,
        StageOptions{
            .index = static_cast<int>(j),
            .stages = static_cast<int>(count),
            .links = options_.partition[j],
            .device = device,
            .recompute = options_.recompute[j],
            .split_backward = options_.schedule == ScheduleKind::kZeroBubble,
            .row = static_cast<int>(own),
            .replica = replica,
            .slab = slab,
            .make_slabs = slabs_maker(static_cast<std::size_t>(replica) * count + j, slab, device),
            .keeps_buffers = is_first,
            .lane = lane.index,
            .sum = sums_.empty() ? nullptr : sums_[j].get()},
        *lane.transfer));
  }
  if (!is_first) copies_.push_back(ChainCopy(*chain_, *lane.chain));
  lanes_.push_back(std::move(lane));
  for (std::size_t j = 0; j < sums_.size(); ++j) {
    const auto& parameters = lanes_.front().stages[j]->parameters();
    sums_[j]->add_lane(is_first ? parameters : copies_.back().counterparts(parameters));
  }
}

std::span<const Lane> LaneSet::at_work(std::size_t lanes) const {
  const auto last = std::find_if(lanes_.begin(), lanes_.end(),
                                 [&](const Lane& lane) { return lane.index >= lanes; });
  return {lanes_.begin(), last};
}

void LaneSet::refresh_copies() {
  for (const auto& sum : sums_) sum->send_weights();
  for (ChainCopy& copy : copies_) copy.refresh();
}

void LaneSet::reset_exchanges(int boundary_slots, std::size_t lanes) {
  for (const auto& sum : sums_) sum->reset(lanes);
  for (const auto& meeting : meetings_) meeting->reset();
  for (const Lane& lane : lanes_) lane.transfer->reset(boundary_slots);
}

void LaneSet::cancel() {
  for (const Lane& lane : lanes_) lane.transfer->cancel();
  for (const auto& meeting : meetings_) meeting->cancel();
  for (const auto& sum : sums_) sum->cancel();
  if (options_.links) options_.links->cancel();
}

void LaneSet::take_gradients(std::size_t lanes) {
  for (const auto& sum : sums_) sum->take_sums();
  if (options_.links)
    options_.links->sum_gradients(lanes_.front().stages.front()->parameters(), lanes);
}

// As if their parts had been seen one after another: replicas are further micro-batches.
void LaneSet::commit_statistics(const std::vector<StepState>& states) {
  if (!states.front().collects_statistics) return;
  std::vector<NormStatistics> all;
  for (std::size_t i = 0; i < at_work(states.size()).size(); ++i)
    for (const auto& stage : lanes_[i].stages)
      for (NormStatistics& part : stage->take_statistics()) {
        if (i > 0) part.norm = copies_[i - 1].original(part.norm);
        all.push_back(std::move(part));
      }
  if (options_.links) {
    const auto of_lanes = options_.links->gather_of_stage(statistics_tensor(all, *chain_));
    all.clear();
    for (const torch::Tensor& of_lane : of_lanes)
      for (NormStatistics& part : statistics_from(of_lane, *chain_)) all.push_back(std::move(part));
  }
  if (options_.deferred_batch_norm) return commit(all);
  for (const NormStatistics& part : all) commit({part});
}

std::vector<StageReport> LaneSet::reports(std::vector<StepState>& states) const {
  std::vector<StageReport> all(options_.devices.size());
  for (const Lane& lane : at_work(states.size()))
    for (const auto& stage : lane.stages)
      all[static_cast<std::size_t>(stage->row())] = report_of(*stage, states[lane.index]);
  if (!options_.links) return all;
  const auto of_rows = options_.links->gather(to_bytes(all[options_.links->row()]));
  for (std::size_t i = 0; i < all.size(); ++i) all[i] = stage_report_from(of_rows[i]);
  for (std::size_t lane = 0; lane < states.size(); ++lane) {
    const StageReport& last = all[row(lane, options_.partition.size() - 1)];
    for (std::size_t i = 0; i < last.losses.size(); ++i)
      states[lane].losses.at(i) = torch::scalar_tensor(last.losses[i], torch::kFloat64);
  }
  return all;
}

StepResult LaneSet::result_of(std::vector<StepState>& states, const LaneGrid& grid) const {
  const std::vector<StageReport> all = reports(states);
  StepResult result{.loss = joined_loss(states, grid)};
  for (std::size_t j = 0; j < options_.partition.size(); ++j)
    result.peak_in_flight.push_back(static_cast<int>(all[row(0, j)].peak_in_flight));
  for (const StageReport& report : all) {
    result.stage_peak_bytes.push_back(report.peak_bytes);
    result.boundary_bytes += report.boundary_bytes;
    result.skip_bytes += report.skip_bytes;
    result.halo_bytes += report.halo_bytes;
  }
  for (const Lane& lane : at_work(states.size()))
    for (const auto& stage : lane.stages) {
      stage->finish();
      result.timeline.insert(result.timeline.end(), stage->events().begin(), stage->events().end());
    }
  return result;
}

void LaneSet::share_outputs(std::vector<StepState>& states) const {
  if (!options_.links) return;
  const std::size_t last = options_.partition.size() - 1;
  for (std::size_t lane = 0; lane < states.size(); ++lane)
    for (torch::Tensor& output : states[lane].outputs)
      output = options_.links->broadcast(std::move(output), row(lane, last));
}

}  // namespace lamp
