// Two like structures that only a landmark far away tells apart.
#pragma once

#include <cstdint>

#include "lamp/base/random.h"
#include "lamp/base/size3.h"
#include "lamp/phantoms/phantom_scenes.h"

namespace lamp {

Scene draw_twins(const SceneWish& wish, Random& random);

// How far from a twin every cue to its side is kept, in voxels: 31 (a patch of 32^3 that touches a
// twin shows none) or as much as a smaller grid allows.
std::int64_t twins_reach(const Size3& size);

}  // namespace lamp
