// A convolution of one slab's own planes and of planes that came from others. Joining them in one
// tensor copies all that is read; where only few output planes read the halo, the kernel runs on
// the own planes as they are, and what the halo adds is computed for those few.
#pragma once

#include <torch/types.h>

#include <functional>
#include <vector>

#include "lamp/nets/conv_kernel.h"
#include "lamp/sequence/slab_group.h"

namespace lamp {

// Planes that one slab of a convolution reads and makes.
struct SlabPlanes {
  HaloPlan input;
  int rank = 0;
  ConvGeometry geometry;  // of the kernel: without padding along the axis
  PlaneRange made;        // output planes that the kernel makes of the needed ones
  bool always_joined = false;
};

// Whether input planes are joined with the halo: with a transposed convolution, with few planes,
// and where zero padding alone cannot stand for the halo (see docs/slabs.md). rule: along the axis;
// `needed` reaches beyond both ends of the volume.
bool joins_halo(const PlaneRule& rule, const PlaneRange& owned, const PlaneRange& needed,
                std::int64_t made_planes);

// A kernel on some planes, with the geometry that fits them.
using SlabKernel = std::function<torch::Tensor(const torch::Tensor&, const ConvGeometry&)>;

// What the kernel makes of own planes and halo: planes `made`, without a graph. weight: for its
// sizes and its memory layout.
torch::Tensor run_with_halo(const SlabPlanes& planes, const torch::Tensor& own,
                            const std::vector<torch::Tensor>& halo, const torch::Tensor& weight,
                            const SlabKernel& kernel);

// `input` is of the own planes, `halo` of the others' by slab; both undefined where not wanted.
struct HaloGradients {
  ConvGradients own;
  std::vector<torch::Tensor> halo;
};

// output: the gradient of the planes `made`.
HaloGradients gradients_with_halo(const SlabPlanes& planes, const torch::Tensor& output,
                                  const torch::Tensor& own, const std::vector<torch::Tensor>& halo,
                                  const torch::Tensor& weight, const WantedGradients& wanted);

}  // namespace lamp
