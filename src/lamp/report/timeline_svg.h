// The picture of a pipeline step.
#pragma once

#include <string>

#include "lamp/report/timeline_picture.h"

namespace lamp {

// A whole SVG document: for each panel a row a stage or slab, time to the right, waiting hatched
// with its share of the stage's time at the end of the row, transfers as a thin strip under their
// sender.
std::string timeline_svg(const TimelinePicture& picture);

}  // namespace lamp
