// Files that are either whole or not there: everything the program leaves behind is written aside,
// synced to the disk and renamed, so that a kill, a crash or a full disk never destroys what was
// there before.
#pragma once

#include <cstddef>
#include <filesystem>
#include <string>
#include <string_view>

namespace lamp {

// A file being written under a temporary name in the same folder. commit() makes it appear under
// its own name; without commit() the destructor removes it. Not thread-safe. Every failure (full
// disk, missing permission) throws Error, which names the final path.
class AtomicFile {
 public:
  explicit AtomicFile(std::filesystem::path path);
  ~AtomicFile();
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  void write(const void* bytes, std::size_t count);
  void write(std::string_view text) { write(text.data(), text.size()); }
  // Syncs, renames over the final path and syncs the folder. No write may follow. Without the sync
  // (for what can be made again and carries checksums) a crash of the machine may leave a damaged
  // file.
  enum Durability { kSynced, kWithoutSync };
  void commit(Durability durability = kSynced);
  // For libraries that insist on writing by name (ITK): the temporary path, whose extension is the
  // final one's.
  const std::filesystem::path& temporary() const { return temporary_; }

 private:
  [[noreturn]] void fail(const char* what) const;

  std::filesystem::path path_;
  std::filesystem::path temporary_;
  int descriptor_ = -1;
};

void write_file(const std::filesystem::path& path, std::string_view text);

// The whole file as bytes. Throws InputError, without waiting, if it is missing, unreadable, not a
// regular file (a FIFO would block for ever) or larger than `limit_bytes`.
std::string read_file(const std::filesystem::path& path,
                      std::size_t limit_bytes = std::size_t{1} << 40);

// Whether this is the name of a temporary file of AtomicFile, of any process.
bool is_temporary_name(const std::filesystem::path& file);
// Removes the temporary files of AtomicFile in `folder` whose processes are gone. Only for folders
// that no other machine writes to at the same time (a run folder under its lock). Returns how many.
int remove_stale_temporaries(const std::filesystem::path& folder);
// Likewise those of one file, in a folder that others may be writing to.
int remove_stale_temporaries_of(const std::filesystem::path& file);

// Creates the folder and its parents; throws Error (exit 1) if that fails or if no file can be
// created in it.
void make_output_folder(const std::filesystem::path& folder);

}  // namespace lamp
