// The readers that an image reaches, whatever its format.
#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "fuzz/fuzz_format.h"

namespace lamp::fuzz {

// path_in: from the input's folder to the image.
std::vector<std::pair<std::string, FuzzFormat::Reader>> image_readers(
    const std::function<std::filesystem::path(const std::filesystem::path&)>& path_in);

}  // namespace lamp::fuzz
