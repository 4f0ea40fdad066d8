// A liver with tumours.
#pragma once

#include <cstdint>

#include "lamp/base/random.h"
#include "lamp/base/size3.h"
#include "lamp/phantoms/phantom_scenes.h"

namespace lamp {

Scene draw_liver(const Size3& size, Random& random);

}  // namespace lamp
