// What a prepared case was made from: the files of its image and label, told apart by their bytes.
// Reading all bytes of a data set at every start would cost nearly as much as preparing it, so a
// file's digest is remembered with its size, inode and times in a stamp; the time of its last
// change of state (ctime) moves with every write and cannot be set back.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "lamp/base/json.h"
#include "lamp/dataset/datalist.h"

namespace lamp {

struct FileState {
  std::string path;  // absolute
  std::uint64_t bytes = 0, inode = 0;
  std::int64_t mtime_ns = 0, ctime_ns = 0;
  bool operator==(const FileState&) const = default;
};

struct CaseSources {
  std::vector<FileState> files;      // as they were before they were digested
  std::vector<std::string> digests;  // SHA-256 of each file's bytes
  std::string digest;                // of all their bytes, each in its role

  bool unchanged() const;  // are they still as they were?
};

// Where the stamp of these files lies.
std::filesystem::path stamp_path(const std::filesystem::path& folder, const Case& entry);

// What is remembered of each file: its state and "sha256". A file that changed within the last two
// seconds is remembered without its times, so that it is read again: a further change might not
// move them.
Json remembered_files(const CaseSources& sources);

// Takes digests from `known` (remembered_files of an earlier look) and from the stamp at `stamp`
// where size, inode and times agree, else reads the files and writes a new stamp. A stamp that
// cannot be written is done without; an empty path stands for none.
CaseSources read_case_sources(const Case& entry, const std::filesystem::path& stamp,
                              const Json& known = Json());

}  // namespace lamp
