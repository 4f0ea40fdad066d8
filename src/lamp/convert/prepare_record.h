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

struct WrittenFile {
  std::uintmax_t bytes = 0;
  std::string sha256;
};

struct FinishedCase {
  Json sources;  // [[file name, bytes, time of change], ...]
  WrittenFile image, label;
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
  std::string dataset_sha256;  // of the dataset.json that was written; empty for none
};

// The first setting that differs, in words; empty if none does.
std::string changed_setting(const Json& found, const Json& expected);

// What lies at `file`. Throws InputError if it cannot be read.
WrittenFile written_file(const std::filesystem::path& file);
// Throws UsageError if `file` is there and no longer what was written: another size or, if the
// bytes are to be read, too, other bytes.
void refuse_changed_file(const std::filesystem::path& file, const WrittenFile& written,
                         bool reads_bytes);
[[noreturn]] void refuse_as_changed(const std::filesystem::path& file, const std::string& how = "");

// Size and time of every file that a case is read from; a missing one says so.
Json stamp_of(const SourceCase& source);

}  // namespace lamp
