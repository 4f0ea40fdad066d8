// Nothing that LAMP did not write is ever replaced or removed. Every option that names an output
// hands its files to an OutputList before any work begins; an existing file may be replaced only if
// it carries LAMP's mark of the same kind: a JSON's "written_by", an SVG's comment, a table's
// header line, or, in a volume or a picture, a hash that also notices a later correction
// (formats/volume_mark.h, preview/png.h).
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "lamp/base/json.h"

namespace lamp {

// Is this existing regular file LAMP's own, of the kind that is about to be written?
using OwnTest = std::function<bool(const std::filesystem::path&)>;

// JSON objects with "written_by": `writer`, such as "lamp plan"; written_by() adds that.
OwnTest own_json(std::string writer);
// The same of any command.
OwnTest own_json_of_any();
Json written_by(const std::string& writer, Json object);
// SVG documents with the comment that svg_written_by_lamp() puts behind the root's tag.
OwnTest own_svg();
std::string svg_written_by_lamp(std::string svg);
// Tables that begin with this line.
OwnTest own_table(std::string header_line);

struct PlannedOutput {
  std::string option;  // "-o", for messages
  std::filesystem::path file;
  OwnTest is_own;
};

// The files that one command is about to write. check() and make_folders() come before any work,
// confirm() right before each file. Const functions are thread-safe.
class OutputList {
 public:
  void add(PlannedOutput output) { outputs_.push_back(std::move(output)); }
  // What the command reads: no output may be the same file, under any name.
  void protect(std::filesystem::path input) { inputs_.push_back(std::move(input)); }

  // Writes nothing. Throws UsageError for a name that is empty or too long, that two outputs share,
  // that is a folder, a link or a device, that is an input, or that belongs to a file which LAMP
  // did not write (the first of them, and how many there are); Error for a folder where nothing can
  // be created. Warns of names that differ in case only.
  void check();
  // Creates the outputs' folders, and removes what a killed process has left of these outputs.
  void make_folders() const;
  // Nobody has put a file there since check(). Throws UsageError.
  void confirm(const std::filesystem::path& file) const;
  // Removes an older output of LAMP's own, so that it does not pass for a result of this call.
  // Returns whether there was one.
  bool remove_older(const std::filesystem::path& file) const;

 private:
  // Tells one state of a file from a later one.
  struct Stamp {
    dev_t device = 0;
    ino_t inode = 0;
    off_t bytes = 0;
    timespec changed{};
    bool operator==(const Stamp& other) const;
  };

  static std::optional<Stamp> stamp_of(const PlannedOutput& output);
  const PlannedOutput& planned(const std::filesystem::path& file) const;
  void check_names() const;
  void check_folders() const;
  void check_inputs() const;
  void check_contents();

  std::vector<PlannedOutput> outputs_;
  std::vector<std::filesystem::path> inputs_;
  std::map<std::filesystem::path, std::optional<Stamp>> seen_;  // at check()
};

}  // namespace lamp
