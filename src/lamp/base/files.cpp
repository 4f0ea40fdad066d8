// Atomic files over POSIX calls: the C++ streams offer no fsync.
#include "lamp/base/files.h"

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <optional>
#include <system_error>
#include <utility>

#include "lamp/base/errors.h"
#include "lamp/base/regular_file.h"
#include "lamp/base/text.h"

namespace lamp {
namespace fs = std::filesystem;
namespace {

// A longer stem would make a name that the file system refuses although the final one is fine.
constexpr std::size_t kLongestStem = 100;

// What the temporary names of "case.nii.gz" begin with: ".case.".
std::string temporary_start(const std::string& name) {
  return "." + name.substr(0, std::min(name.find('.', 1), kLongestStem)) + ".";
}

// "case.NII.GZ" becomes ".case.<pid>-<n>.tmp.nii.gz": hidden, unique, and of the same format to
// libraries that go by the extension, in small letters.
fs::path temporary_name(const fs::path& path) {
  static std::atomic<unsigned> counter{0};
  const std::string name = path.filename().string();
  const std::size_t dot = name.find('.', 1);
  std::string extension = dot == std::string::npos ? "" : name.substr(dot);
  extension = lower(extension);
  const std::string unique = std::to_string(getpid()) + "-" + std::to_string(counter++);
  return path.parent_path() / (temporary_start(name) + unique + ".tmp" + extension);
}

// The process in a name that temporary_name made; none for any other name.
std::optional<pid_t> process_of_temporary(const std::string& name) {
  const std::size_t end = name.find(".tmp");
  if (!name.starts_with('.') || end == std::string::npos) return std::nullopt;
  const std::size_t begin = name.rfind('.', end - 1) + 1;
  if (end == 0 || begin < 2) return std::nullopt;
  const char *at = name.data() + begin, *const last = name.data() + end;
  pid_t process = 0;
  unsigned number = 0;
  const auto first = std::from_chars(at, last, process);
  if (first.ec != std::errc() || first.ptr == last || *first.ptr != '-') return std::nullopt;
  const auto second = std::from_chars(first.ptr + 1, last, number);
  if (second.ec != std::errc() || second.ptr != last || process < 1) return std::nullopt;
  return process;
}

// Those whose names begin with `start`.
int remove_stale(const fs::path& folder, const std::string& start) {
  int removed = 0;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(folder, error)) {
    const std::string name = entry.path().filename().string();
    const auto process = process_of_temporary(name);
    if (!process || *process == getpid() || !name.starts_with(start)) continue;
    if (!entry.is_regular_file(error)) continue;
    if (kill(*process, 0) == 0 || errno != ESRCH) continue;
    if (fs::remove(entry.path(), error)) ++removed;
  }
  return removed;
}

void sync_folder(const fs::path& folder) {
  const int descriptor = open(folder.empty() ? "." : folder.c_str(), O_RDONLY | O_DIRECTORY);
  if (descriptor < 0) return;  // some file systems refuse; the rename itself has happened
  fsync(descriptor);
  close(descriptor);
}

// Of a link on the way the system says "File exists"; what counts is that it leads nowhere.
std::string no_folder_because(const fs::path& folder, const std::error_code& error) {
  std::error_code reason;
  if (fs::exists(folder, reason)) return error.message();
  if (reason) return reason.message();
  return fs::is_symlink(fs::symlink_status(folder, reason)) ? "a link to nothing" : error.message();
}

}  // namespace

AtomicFile::AtomicFile(fs::path path) : path_(std::move(path)) {
  // A process of the same number may have been killed here, or write here from another container.
  do {
    temporary_ = temporary_name(path_);
    descriptor_ = open(temporary_.c_str(), O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0644);
  } while (descriptor_ < 0 && errno == EEXIST);
  if (descriptor_ < 0) fail("cannot create");
}

AtomicFile::~AtomicFile() {
  if (descriptor_ < 0) return;
  close(descriptor_);
  unlink(temporary_.c_str());
}

void AtomicFile::write(const void* bytes, std::size_t count) {
  const char* next = static_cast<const char*>(bytes);
  while (count > 0) {
    const ssize_t written = ::write(descriptor_, next, count);
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) fail("cannot write");
    next += written;
    count -= static_cast<std::size_t>(written);
  }
}

void AtomicFile::commit(Durability durability) {
  if (durability == kSynced && fsync(descriptor_) != 0) fail("cannot write");
  if (close(std::exchange(descriptor_, -1)) != 0 ||
      rename(temporary_.c_str(), path_.c_str()) != 0) {
    const int cause = errno;
    unlink(temporary_.c_str());
    errno = cause;
    fail("cannot write");
  }
  if (durability == kSynced) sync_folder(path_.parent_path());
}

void AtomicFile::fail(const char* what) const {
  const int cause = errno;
  std::string advice;
  if (cause == ENOSPC || cause == EDQUOT)
    advice = "; free some space, what was there before is untouched";
  if (cause == EACCES || cause == EPERM || cause == EROFS) advice = "; choose another folder";
  throw Error(std::string(what) + ": " + path_.string() + ": " + std::strerror(cause) + advice);
}

void write_file(const fs::path& path, std::string_view text) {
  AtomicFile file(path);
  file.write(text);
  file.commit();
}

std::string read_file(const fs::path& path, std::size_t limit_bytes) {
  const RegularFile file(path);
  const auto size = static_cast<std::size_t>(file.size());
  if (size > limit_bytes) {
    cannot_read(path.string(),
                {.found = std::to_string(size) + " bytes",
                 .expected = "at most " + std::to_string(limit_bytes) + " for such a file",
                 .fix = "check the path"});
  }
  return file.start(size);
}

bool is_temporary_name(const fs::path& file) {
  return process_of_temporary(file.filename().string()).has_value();
}

int remove_stale_temporaries(const fs::path& folder) { return remove_stale(folder, "."); }

int remove_stale_temporaries_of(const fs::path& file) {
  const fs::path folder = file.has_parent_path() ? file.parent_path() : fs::path(".");
  return remove_stale(folder, temporary_start(file.filename().string()));
}

void make_output_folder(const fs::path& folder) {
  std::error_code error;
  fs::create_directories(folder, error);
  if (error) {
    throw Error("cannot create the output folder: " + folder.string() + ": " +
                no_folder_because(folder, error) + "; choose another folder");
  }
  AtomicFile probe(folder /
                   "probe");  // throws if nothing can be written here; leaves nothing behind
}

}  // namespace lamp
