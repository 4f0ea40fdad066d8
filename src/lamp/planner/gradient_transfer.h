// What a step takes beyond its backward pass where slabs or replicas lie on devices of their own:
// the sum of their gradients, dealt out to all of them, and the weights' way back. No torch here.
//
// Each parameter is owned by one of L workers, which gets its gradients from all others; the sums
// go on to the first worker's device, whose optimizer steps. All but the first own as much, of two
// both, so that every link carries the bytes of all parameters once. A layer's gradient is on its
// way as soon as the last backward pass has made it, so that most of this hides under the layers
// before it; what weights' halves make that are put off is summed when the last one is done.
// Weights go the same way back in the order of the chain, and hide under the next step's forward
// pass, where each layer waits for its own (pipeline/gradient_sum.h).
#pragma once

#include <cstdint>
#include <vector>

#include "lamp/pipeline/partition.h"
#include "lamp/planner/network_costs.h"
#include "lamp/planner/pipeline_setup.h"
#include "lamp/planner/simulate.h"

namespace lamp {

struct LayerTransfer {
  double work_s;  // of the layer's pass backward, at whose end its gradient is final, or forward
  std::int64_t bytes;
};

// From the end of a backward pass until all gradients are sent, one after another in the order in
// which they become final. layers: in the order of the chain, which the pass goes through from the
// last to the first.
double exposed_gradients_s(const std::vector<LayerTransfer>& layers, double s_per_byte);

// By how much a forward pass ends later that begins at start_s, where weights are sent from 0 s on,
// one layer after another, and each layer waits for its own.
double exposed_weights_s(const std::vector<LayerTransfer>& layers, double start_s,
                         double s_per_byte);

// Of a step: by how much the sum outlasts it as simulated, and how much longer the next one takes
// for the weights. 0 where all workers share one device. Each stage's parameters are summed by its
// own workers.
double merge_seconds(const NetworkCosts& costs, const PipelineSetup& setup,
                     const Partition& partition, const Simulation& simulation);

}  // namespace lamp
