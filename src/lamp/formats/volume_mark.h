// Who wrote a volume file, inside the file, where other readers keep or ignore it: NIfTI's descrip,
// a key of NRRD, a field of MetaImage. The mark holds a hash of all other bytes, because editors
// keep a header's texts: a map that a person has corrected must not pass for LAMP's own.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

#include "lamp/base/own_output.h"

namespace lamp {

// "lamp segment sha256:000...": at most 79 characters for writers of up to 39. Goes into the header
// before seal() puts the hash in place of the zeros.
std::string unsealed_mark(const std::string& writer);

// Seals the file that consists of `start`, which holds the mark, and `rest`.
void seal(std::string& start, std::string_view rest, const std::string& writer);
// Likewise a file on the disk. Throws Error if that fails.
void seal_file(const std::filesystem::path& file, const std::string& writer);

// Volumes with the seal of `writer` unbroken. The whole file is read.
OwnTest own_volume(std::string writer);

}  // namespace lamp
