// A head and neck with nine organs.
#pragma once

#include <cstdint>

#include "lamp/base/random.h"
#include "lamp/base/size3.h"
#include "lamp/phantoms/phantom_scenes.h"

namespace lamp {

Scene draw_han(const Size3& size, Random& random);

}  // namespace lamp
