// A file that was found where volumes were looked for and is not read: no file is left out without
// a word, so every list of volumes comes with a list of these.
#pragma once

#include <cstddef>
#include <filesystem>
#include <string>
#include <vector>

namespace lamp {

struct LeftOut {
  std::filesystem::path file;
  std::string reason;  // completes "<file> is left out: ..."

  // Is it an image of a kind that is not read, or does it hold any? Such a file is worth a warning.
  bool is_image = false;
  // Is it one of many of a series, for which one line is enough?
  bool in_series = false;
  std::size_t files = 1;  // of a folder, where one entry stands for a series

  std::string describe() const;
};

// For people: the files of one folder that belong to one series as one entry, in its first one's
// place. Lists for programs name every file.
std::vector<LeftOut> one_a_series(const std::vector<LeftOut>& files);

}  // namespace lamp
