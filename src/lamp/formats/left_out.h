// A file that was found where volumes were looked for and is not read: no file is left out without
// a word, so every list of volumes comes with a list of these.
#pragma once

#include <filesystem>
#include <string>

namespace lamp {

struct LeftOut {
  std::filesystem::path file;
  std::string reason;  // completes "<file> is left out: ..."

  // Is it an image of a kind that is not read, or does it hold any? Such a file is worth a warning.
  bool is_image = false;

  std::string describe() const { return file.string() + " is left out: " + reason; }
};

}  // namespace lamp
