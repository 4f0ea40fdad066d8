// A head and neck with nine organs.
#pragma once

#include <array>
#include <cstdint>

#include "lamp/base/random.h"
#include "lamp/phantoms/phantom_scenes.h"

namespace lamp {

Scene draw_han(const std::array<std::int64_t, 3>& size, Random& random);

}  // namespace lamp
