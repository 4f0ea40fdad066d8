// A simulated step as the picture that the report module draws.
#pragma once

#include <string>

#include "lamp/planner/simulate.h"
#include "lamp/report/timeline.h"

namespace lamp {

// unit: of the time axis.
TimelinePicture timeline_picture(const Simulation& simulation, const std::string& title,
                                 const std::string& unit);

}  // namespace lamp
