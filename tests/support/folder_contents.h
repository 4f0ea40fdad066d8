// All that a folder holds, to be compared before and after: names, kinds and bytes.
#pragma once

#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>
#include <string>

namespace lamp::testing {

// By relative path: the bytes of files, "folder", or "link to ...".
inline std::map<std::string, std::string> contents_of(const std::filesystem::path& folder) {
  namespace fs = std::filesystem;
  std::map<std::string, std::string> contents;
  if (!fs::exists(folder)) return {{"", "nothing"}};
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    const std::string name = fs::relative(entry.path(), folder).string();
    if (entry.is_symlink()) {
      contents[name] = "link to " + fs::read_symlink(entry.path()).string();
    } else if (entry.is_directory()) {
      contents[name] = "folder";
    } else if (entry.is_regular_file()) {
      std::ostringstream bytes;
      bytes << std::ifstream(entry.path(), std::ios::binary).rdbuf();
      contents[name] = bytes.str();
    } else {
      contents[name] = "something else";
    }
  }
  return contents;
}

}  // namespace lamp::testing
