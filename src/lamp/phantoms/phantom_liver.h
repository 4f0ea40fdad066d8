// A liver with tumours.
#pragma once

#include "lamp/base/random.h"
#include "lamp/phantoms/phantom_scenes.h"

namespace lamp {

Scene draw_liver(const SceneWish& wish, Random& random);

}  // namespace lamp
