// What a file is that was given in the place of a model or of JSON by mistake.
#pragma once

#include <cstddef>
#include <filesystem>
#include <string>
#include <string_view>

namespace lamp {

// "a NIfTI image", "a compressed file (an image?)", "a model (safetensors)", ..., by the first
// bytes, of which a model needs 9 and a DICOM file 132; empty for text and for what is not known.
std::string mistaken_kind(std::string_view start);
// Of a file: empty, too, if it cannot be read, which its reader will say. Never waits for a pipe.
std::string mistaken_kind_of(const std::filesystem::path& file);

}  // namespace lamp
