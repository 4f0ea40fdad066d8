// A series is known by the reason, which holds its UID, and the folder.
#include "lamp/formats/left_out.h"

#include <map>
#include <utility>

#include "lamp/base/text.h"

namespace lamp {
namespace fs = std::filesystem;

std::string LeftOut::describe() const {
  if (files == 1) return file.string() + " is left out: " + reason;
  return counted(files, "file") + " of " + file.string() + " are left out: " + reason;
}

std::vector<LeftOut> one_a_series(const std::vector<LeftOut>& files) {
  std::vector<LeftOut> entries;
  std::map<std::pair<fs::path, std::string>, std::size_t> places;
  for (const LeftOut& file : files) {
    if (!file.in_series) {
      entries.push_back(file);
      continue;
    }
    const fs::path folder = file.file.parent_path();
    const auto [place, is_new] = places.emplace(std::pair(folder, file.reason), entries.size());
    if (is_new) {
      entries.push_back(file);
    } else {
      entries[place->second].file = folder;
      entries[place->second].files += file.files;
    }
  }
  return entries;
}

}  // namespace lamp
