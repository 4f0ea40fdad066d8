// Several texts as one, and back.
#pragma once

#include <string>
#include <vector>

namespace lamp {

// Each with its length in front: "3:one5:three".
std::string packed_texts(const std::vector<std::string>& texts);
// Throws Error where it is not what packed_texts() makes.
std::vector<std::string> unpacked_texts(const std::string& packed);

}  // namespace lamp
