// Parts and planes of a batch, and back.
#include "lamp/pipeline/lanes.h"

#include <algorithm>
#include <utility>

#include "lamp/pipeline/volume_cut.h"

namespace lamp {
namespace {

// Of one replica.
StepState replica_state(const StepState& step, const LaneGrid& grid, std::int64_t replica) {
  StepState state = step;
  const auto count = static_cast<std::ptrdiff_t>(step.parts.size()) / grid.replicas;
  const std::ptrdiff_t first = count * replica;
  state.first_microbatch = static_cast<int>(first);
  state.parts.assign(step.parts.begin() + first, step.parts.begin() + first + count);
  state.inputs.assign(step.inputs.begin() + first, step.inputs.begin() + first + count);
  state.losses.resize(state.parts.size());
  state.outputs.resize(state.parts.size());
  state.input_gradients.resize(state.parts.size());
  return state;
}

void add_cuts(StepState& state, const Sequence& chain, const LaneGrid& grid) {
  for (const torch::Tensor& input : state.inputs) {
    state.cuts.push_back(
        cut_volume(chain, input.sizes(), static_cast<int>(grid.slabs), grid.slab_shares));
    const SlabCut& cut = state.cuts.back();
    state.planes.push_back(planes_by_link(chain, cut.axis, cut.boundaries.back()));
  }
}

// slab: of a replica's `whole` step.
StepState slab_state(const StepState& whole, std::size_t slab) {
  StepState state = whole;
  for (std::size_t i = 0; i < state.inputs.size(); ++i) {
    const SlabCut& cut = whole.cuts[i];
    state.inputs[i] = narrowed(whole.inputs[i], cut.axis, cut.owned(cut.boundaries.back())[slab]);
  }
  return state;
}

// One tensor of a micro-batch's slabs, on the first one's device.
torch::Tensor joined_slabs(const StepState& step, std::size_t microbatch,
                           std::vector<torch::Tensor> slabs) {
  if (slabs.size() == 1) return std::move(slabs.front());
  for (torch::Tensor& slab : slabs) slab = slab.to(slabs.front().device());
  return torch::cat(slabs, step.cuts[microbatch].axis);
}

}  // namespace

std::vector<MicroBatch> split_over_replicas(std::int64_t samples, std::int64_t replicas,
                                            std::int64_t microbatches) {
  if (replicas == 1) return split_batch(samples, microbatches);
  const std::int64_t used = std::min(replicas, samples);
  return split_batch(samples, used * std::min(microbatches, samples / used));
}

std::vector<StepState> lane_states(const StepState& step, const Sequence& chain,
                                   const LaneGrid& grid) {
  std::vector<StepState> states;
  for (std::int64_t replica = 0; replica < grid.replicas; ++replica) {
    StepState state = replica_state(step, grid, replica);
    if (grid.slabs == 1) {
      states.push_back(std::move(state));
      continue;
    }
    add_cuts(state, chain, grid);
    for (std::int64_t slab = 0; slab < grid.slabs; ++slab)
      states.push_back(slab_state(state, static_cast<std::size_t>(slab)));
  }
  return states;
}

double joined_loss(const std::vector<StepState>& states, const LaneGrid& grid) {
  double loss = 0;
  for (std::size_t lane = 0; lane < states.size(); lane += static_cast<std::size_t>(grid.slabs)) {
    const StepState& state = states[lane];
    for (std::size_t i = 0; i < state.parts.size(); ++i)
      loss += state.losses[i].item<double>() * static_cast<double>(state.parts[i].count) /
              static_cast<double>(state.samples);
  }
  return loss;
}

torch::Tensor joined_input_gradient(const std::vector<StepState>& states, const LaneGrid& grid) {
  const auto slabs = static_cast<std::size_t>(grid.slabs);
  const c10::Device device = states.front().inputs.front().device();
  std::vector<torch::Tensor> gradients;
  for (std::size_t first = 0; first < states.size(); first += slabs)
    for (std::size_t i = 0; i < states[first].parts.size(); ++i) {
      std::vector<torch::Tensor> parts;
      for (std::size_t lane = first; lane < first + slabs; ++lane) {
        const torch::Tensor& gradient = states[lane].input_gradients[i];
        parts.push_back(gradient.defined() ? gradient : torch::zeros_like(states[lane].inputs[i]));
      }
      gradients.push_back(joined_slabs(states[first], i, std::move(parts)).to(device));
    }
  return gather(gradients);
}

std::vector<torch::Tensor> joined_outputs(std::vector<StepState>& states, const LaneGrid& grid) {
  const auto slabs = static_cast<std::size_t>(grid.slabs);
  std::vector<torch::Tensor> outputs;
  for (std::size_t first = 0; first < states.size(); first += slabs)
    for (std::size_t i = 0; i < states[first].parts.size(); ++i) {
      std::vector<torch::Tensor> parts;
      for (std::size_t lane = first; lane < first + slabs; ++lane)
        parts.push_back(std::move(states[lane].outputs[i]));
      outputs.push_back(joined_slabs(states[first], i, std::move(parts)));
    }
  return outputs;
}

}  // namespace lamp
