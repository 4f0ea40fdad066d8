// What lies in a folder, to the last byte: equal before and after where nothing may be touched.
#pragma once

#include <sys/stat.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>
#include <string>

namespace lamp::testing {

// By path: the kind of the entry (its mode) and its content, or where a link leads.
inline std::map<std::string, std::string> tree_snapshot(const std::filesystem::path& folder) {
  namespace fs = std::filesystem;
  std::map<std::string, std::string> tree;
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    struct stat status {};
    lstat(entry.path().c_str(), &status);
    std::ostringstream content;
    content << status.st_mode << " ";
    if (entry.is_symlink()) {
      content << fs::read_symlink(entry.path()).string();
    } else if (entry.is_regular_file()) {
      content << std::ifstream(entry.path(), std::ios::binary).rdbuf();
    }
    tree[entry.path().string()] = content.str();
  }
  return tree;
}

}  // namespace lamp::testing
