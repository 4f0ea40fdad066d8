// One process at a time at one output: two that share a place would each believe the other's files
// to be their own.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace lamp {

// The file that says whose a folder is: host, process and when that process began. Hidden, so that
// no command takes it for one of the folder's files.
inline constexpr const char* kFolderLock = ".lamp-lock";
// The one of a run folder, for people to see.
inline constexpr const char* kRunLock = "lock";
// The one of the files that are called `name`, in a folder that others may write to.
std::string lock_of(const std::string& name);

// Whether `text` is the content of a lock file of this program.
bool is_lock_text(const std::string& text);
// Whether a process of this program works here, or was killed here: such a file is never foreign.
bool is_lock_file(const std::filesystem::path& file);

// Held from construction to destruction. The lock appears whole or not at all (it is linked into
// its place, which also holds over NFS), and its holder keeps an flock on it, so of any number of
// processes that start at once exactly one wins. A lock whose process is gone (killed, or the
// machine restarted) is taken over, with a line in the log; one of another host is not, since
// nobody here can tell.
class OutputLock {
 public:
  // Makes the folder (empty = the current one) and its parents if they are missing. Throws Error
  // that names the holder and says what else can be done than to wait: `way_out`.
  explicit OutputLock(const std::filesystem::path& folder, const std::string& name = kFolderLock,
                      std::string way_out = "choose another place");
  // Removes the lock, and the folders that were made for it where they are still empty. Without
  // start() a stale lock is put back: everything is as it was found.
  ~OutputLock();
  OutputLock(const OutputLock&) = delete;
  OutputLock& operator=(const OutputLock&) = delete;

  // The work begins or goes on.
  void start();
  // The same, and its folder stays even if it is empty.
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
  std::string way_out_;
  MadeFolders made_;
  int descriptor_ = -1;  // keeps the flock
  std::string stale_;    // the text of the lock that was taken over; empty = none
};

}  // namespace lamp
