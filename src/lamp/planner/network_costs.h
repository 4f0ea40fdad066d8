// What every layer of a network costs for one micro-batch, as plain numbers: written by the profile
// (measured) and by the analytic model (from shapes alone), read by the memory model, the balance
// and the plan. No torch here.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace lamp {

// Of one link of the chain. Bytes and seconds of one micro-batch unless said otherwise.
struct LayerCosts {
  std::string name;
  double forward_s = 0;
  double backward_s = 0;             // both halves
  double weight_s = 0;               // the part of backward_s that zero-bubble may put off
  std::int64_t parameter_bytes = 0;  // once, whatever the micro-batch; gradients are as large
  std::int64_t buffer_bytes = 0;     // once
  std::int64_t output_bytes = 0;     // of the tensor handed to the next link
  // Growth of allocated memory through the link's forward with autograd recording, once the handle
  // on its input is let go: what stays until its backward, its own output included if anything
  // behind it keeps that, what it stashes not. Additive over links.
  std::int64_t saved_bytes = 0;
  // Of those, its output where only what is behind keeps it: a cut hands that over. 0 = not known.
  std::int64_t handed_bytes = 0;
  // Whether its output, be it only handed on, goes once the next link has run: nothing keeps it for
  // the backward.
  bool drops_output = false;
  // The most that the forward holds beyond its input, its output and what it saves, and the
  // backward beyond what was saved, the gradients of both, of popped skips and of the parameters.
  // Negative where those are never all there together.
  std::int64_t forward_workspace_bytes = 0;
  std::int64_t backward_workspace_bytes = 0;
  // The same of the two halves of a backward that zero-bubble takes apart: of what is not put off,
  // and of the weights' gradients. 0 where nothing is put off.
  std::int64_t input_half_workspace_bytes = 0;
  std::int64_t weight_half_workspace_bytes = 0;
  // Of its input, sent from slab to slab before its forward, all slabs together; the gradients'
  // way back is as much where the input wants any.
  std::int64_t halo_bytes = 0;
  bool returns_halo = false;
  // Of slabs: the part of forward_s and of backward_s in which one waits for the others' planes and
  // sums.
  double forward_exchange_s = 0;
  double backward_exchange_s = 0;
};

struct SkipBytes {
  std::string name;
  std::size_t from;  // links
  std::size_t to;
  std::int64_t bytes;
  // It is the very tensor that link `from` hands on: there once. If not, it goes when it is popped.
  bool is_handed_on = false;
  // Of the storage that its gradient is a part of, and that waits with it until the backward comes
  // to `from`: a concatenation's parts are views of its gradient. 0 = it wants no gradient, none =
  // not known, taken for `bytes`.
  std::optional<std::int64_t> gradient_bytes = {};
  bool shares_gradient = false;  // that storage holds the gradient of link `to`'s input as well
};

struct NetworkCosts {
  std::vector<LayerCosts> layers;
  std::vector<SkipBytes> skips;
  std::int64_t samples = 1;      // N of the micro-batch
  std::int64_t input_bytes = 0;  // of the micro-batch, after Network::prepare
  double loss_s = 0;             // forward and backward of the loss, on the last stage
  double loss_exchange_s = 0;    // of loss_s, as in layers
  std::int64_t loss_workspace_bytes = 0;
};

// As if every link took `factor` times as long.
inline void scale_seconds(NetworkCosts& costs, double factor) {
  for (LayerCosts& layer : costs.layers) {
    layer.forward_s *= factor;
    layer.backward_s *= factor;
    layer.weight_s *= factor;
    layer.forward_exchange_s *= factor;
    layer.backward_exchange_s *= factor;
  }
  costs.loss_s *= factor;
  costs.loss_exchange_s *= factor;
}

// As if every volume had this share of its planes: parameters stay whole, and so do halos.
inline void scale_planes(NetworkCosts& costs, double share) {
  const auto scale = [share](std::int64_t& bytes) {
    bytes = static_cast<std::int64_t>(std::ceil(share * static_cast<double>(bytes)));
  };
  for (LayerCosts& layer : costs.layers) {
    scale(layer.output_bytes);
    scale(layer.saved_bytes);
    scale(layer.handed_bytes);
    scale(layer.forward_workspace_bytes);
    scale(layer.backward_workspace_bytes);
    scale(layer.input_half_workspace_bytes);
    scale(layer.weight_half_workspace_bytes);
  }
  for (SkipBytes& skip : costs.skips) {
    scale(skip.bytes);
    if (skip.gradient_bytes) scale(*skip.gradient_bytes);
  }
  scale(costs.input_bytes);
  scale(costs.loss_workspace_bytes);
}

}  // namespace lamp
