// A task of the Medical Segmentation Decathlon. Not part of the library's interface.
#pragma once

#include <filesystem>

#include "lamp/convert/prepare_source.h"

namespace lamp {

SourceSet open_decathlon(const std::filesystem::path& source, const ReadOptions& options);

}  // namespace lamp
