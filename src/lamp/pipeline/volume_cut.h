// Where the slabs of a volume begin and end, for a chain of layers.
#pragma once

#include <torch/types.h>

#include <cstdint>
#include <vector>

#include "lamp/sequence/plane_range.h"
#include "lamp/sequence/sequence.h"

namespace lamp {

// Planes of the whole volume along an axis of [N, C, D, H, W] before each link, and after the last.
// Throws UsageError that names a layer which cannot run on slabs.
std::vector<std::int64_t> planes_by_link(const Sequence& chain, std::int64_t axis,
                                         std::int64_t planes);

// A cut of inputs [N, C, D, H, W] into slabs along the axis with the most planes (D first). shares:
// how fast each slab's worker is; empty = all alike. Throws UsageError where a level of the chain
// has too few planes for a slab each.
SlabCut cut_volume(const Sequence& chain, c10::IntArrayRef sizes, int slabs,
                   const std::vector<double>& shares = {});

}  // namespace lamp
