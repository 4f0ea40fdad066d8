// The picture beside a label map.
#pragma once

#include <filesystem>
#include <map>
#include <string>

#include "lamp/preview/case_planes.h"

namespace lamp {

// The bytes of a PNG. `image`: the whole scan on the label map's grid.
std::string segment_png(const std::string& name, const GreyImage& image, const Volume& labels,
                        const std::map<int, std::string>& names);

// Removes, and tells, a picture of LAMP's that an earlier call left beside a label map which is new
// now, or gone: it would pass for this one's.
void remove_older_preview(const std::filesystem::path& file);

}  // namespace lamp
