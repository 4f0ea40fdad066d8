// A liver with tumours.
#pragma once

#include <array>
#include <cstdint>

#include "lamp/base/random.h"
#include "lamp/phantoms/phantom_scenes.h"

namespace lamp {

Scene draw_liver(const std::array<std::int64_t, 3>& size, Random& random);

}  // namespace lamp
