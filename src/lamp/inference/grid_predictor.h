// A network over a grid of devices, made ready for prediction: replicas take inputs, stages take
// layers, slabs take planes of every input.
#pragma once

#include <c10/core/Device.h>
#include <c10/core/ScalarType.h>
#include <torch/types.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "lamp/base/size3.h"
#include "lamp/inference/sliding_window.h"
#include "lamp/nets/network.h"
#include "lamp/pipeline/partition.h"
#include "lamp/sequence/sequence.h"

namespace lamp {

struct GridPlacement {
  // Replica by replica, there stage by stage, and in each stage slab by slab; a multiple of
  // replicas * slabs.
  std::vector<c10::Device> devices;
  int replicas = 1;
  int slabs = 1;
  c10::ScalarType dtype = torch::kFloat32;
  // Never two inputs are at work, so that one replica's stage has all threads of the process.
  bool one_at_a_time = false;
  // A further chain with the same layers and names, for each slab of each replica but the first;
  // what its parameters hold does not matter. Not needed for stages alone.
  std::function<std::shared_ptr<Sequence>()> make_chain = nullptr;
};

struct GridPredictor {
  Partition partition;  // stages whose forward passes took equally long on a small volume
  Predictor predict;
};

// Chains like that of a network of this kind, as it is or in its inference form.
std::function<std::shared_ptr<Sequence>()> chain_maker(const Network& network, bool is_folded);

// Like make_predictor's, but thread-safe, and the N samples of a call are shared out: sample i goes
// to replica i modulo their number, a single one to the next in turn. In a replica they stream
// through the stages, and without slabs so do those of other threads' calls; slabs take one call at
// a time, whose volumes each are cut along their longest axis (pipeline/volume_cut.h). The scores
// lie on the last device of the first replica that had a sample. The network must be placed on the
// first device; its layers move to their stages.
GridPredictor make_grid_predictor(const Network& network, const GridPlacement& placement);

// Throws UsageError where a volume of x, y, z voxels has too few planes for so many slabs, or the
// network has a layer that cannot run on them.
void check_cut(const Network& network, const Size3& size, int slabs);

// In one call of the predictor, groups being replicas * stages: so many that every group has one
// and the next waits at its door.
std::int64_t windows_at_once(std::size_t groups);

}  // namespace lamp
