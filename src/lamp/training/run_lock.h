// One process at a time in a run folder: two trainings that share one would each believe the
// other's files to be their own.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace lamp {

// The file that says whose a run folder is: host, process and when that process began.
inline constexpr const char* kLockFile = "lock";

// Whether `text` is the content of a lock file of this program.
bool is_lock_text(const std::string& text);

// Held from construction to destruction. The lock appears whole or not at all (it is linked into
// its place, which also holds over NFS), and its holder keeps an flock on it, so of any number of
// processes that start at once exactly one wins. A lock whose process is gone (killed, or the
// machine restarted) is taken over, with a line in the log; one of another host is not, since
// nobody here can tell.
class RunLock {
 public:
  // Makes the folder and its parents if they are missing. Throws Error that names the holder.
  explicit RunLock(const std::filesystem::path& run);
  // Removes the lock. Without keep() everything is left as it was found: a folder that was made is
  // removed and a stale lock is put back.
  ~RunLock();
  RunLock(const RunLock&) = delete;
  RunLock& operator=(const RunLock&) = delete;

  // The run begins or goes on: its folder stays.
  void keep();

 private:
  // Folders that were made for the lock, outermost first; removed again unless they are to stay.
  struct MadeFolders {
    explicit MadeFolders(const std::filesystem::path& folder);
    ~MadeFolders();
    std::vector<std::filesystem::path> paths;
  };

  bool create();     // false: there is a lock already
  bool take_over();  // false: the lock went away meanwhile; throws Error if it is held

  std::filesystem::path file_;
  MadeFolders made_;
  int descriptor_ = -1;  // keeps the flock
  std::string stale_;    // the text of the lock that was taken over; empty = none
};

}  // namespace lamp
