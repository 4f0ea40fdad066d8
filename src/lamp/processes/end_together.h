// Work of a process in a world, whose failure is everybody's.
#pragma once

#include <functional>

#include "lamp/processes/world.h"

namespace lamp {

// What the work throws goes on, after all others have been told: what, and with which exit code.
// What was another one's failure goes on as it is.
void end_together(World& world, const std::function<void()>& work);

}  // namespace lamp
