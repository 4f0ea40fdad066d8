// Head and neck, as AnatomyNet's arrays and as the raw PDDCA release. Not part of the library's
// interface.
#pragma once

#include <array>
#include <filesystem>

#include "lamp/convert/prepare_source.h"

namespace lamp {

SourceSet open_han_npy(const std::filesystem::path& source,
                       const std::array<double, 3>& spacing_mm);
SourceSet open_pddca(const std::filesystem::path& source);

}  // namespace lamp
