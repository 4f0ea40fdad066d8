// Files that a user or a stranger's header names, opened without ever waiting: a FIFO, a socket or
// a device under an image's name would block for ever or never end.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>

namespace lamp {

// A regular file open for reading. The constructor throws InputError if the file is missing,
// unreadable or no regular file; reading throws it if the disk refuses or the file shrinks.
class RegularFile {
 public:
  explicit RegularFile(const std::filesystem::path& path);
  ~RegularFile();
  RegularFile(const RegularFile&) = delete;
  RegularFile& operator=(const RegularFile&) = delete;

  std::int64_t size() const { return size_; }
  // `count` bytes from `offset` on, all of them within the file.
  void read(std::int64_t offset, std::size_t count, char* out) const;
  // The first `count` bytes, fewer if the file is shorter: enough to judge a header by.
  std::string start(std::size_t count) const;

 private:
  std::string file_;  // for messages
  int descriptor_ = -1;
  std::int64_t size_ = 0;
};

}  // namespace lamp
