// What a conversion remembers between two calls, in DST/.prepare.json: what it was asked for, how
// it split the cases, and which of them are finished. Hidden, so that no command takes it for a
// data set. Not part of the library's interface.
#pragma once

#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "lamp/base/json.h"
#include "lamp/convert/prepare_source.h"

namespace lamp {

struct FinishedCase {
  Json sources;  // [[file name, bytes, time of change], ...]
  std::uintmax_t image_bytes = 0, label_bytes = 0;
  PreparedCase facts;
};

class PrepareRecord {
 public:
  // The record in `folder`, if there is one. Throws UsageError if it is damaged, or holds names
  // that no file may have: the folder may come from a stranger.
  static std::optional<PrepareRecord> read(const std::filesystem::path& folder);
  // Atomic.
  void write(const std::filesystem::path& folder) const;

  Json settings;                   // source and options
  std::vector<std::string> cases;  // all of the source's, by name
  std::vector<std::string> test;   // those kept for testing
  std::map<std::string, FinishedCase> finished;
  // The last call came to its end: what lies in the folder and is not among `finished`, or differs
  // from it, is not ours. Killed, it may have written what is not yet noted here.
  bool ended = false;
};

// Size and time of every file that a case is read from; a missing one says so.
Json stamp_of(const SourceCase& source);

}  // namespace lamp
