// Finished work of an experiment, one JSON file a cell, so that an experiment that was stopped goes
// on where it was and a changed setting repeats only what depends on it.
#pragma once

#include <filesystem>
#include <optional>
#include <string>

#include "lamp/base/json.h"

namespace lamp {

class CellStore {
 public:
  // Files go to folder/cells, which the first of them creates.
  explicit CellStore(std::filesystem::path folder);

  // The result of the cell if it was finished with these very settings.
  std::optional<Json> find(const std::string& name, const Json& settings) const;
  void save(const std::string& name, const Json& settings, const Json& result) const;

 private:
  std::filesystem::path file(const std::string& name) const;

  std::filesystem::path folder_;
};

// A name of letters, digits, - and . for files: "U-Net-8 (16³), seed 0" -> "U-Net-8-16-seed-0-1a2b"
// (the end tells names apart that differ in other characters only).
std::string file_stem(const std::string& name);

}  // namespace lamp
