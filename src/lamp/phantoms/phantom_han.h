// A head and neck with nine organs.
#pragma once

#include "lamp/base/random.h"
#include "lamp/phantoms/phantom_scenes.h"

namespace lamp {

Scene draw_han(const SceneWish& wish, Random& random);

}  // namespace lamp
