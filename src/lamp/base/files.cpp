// Atomic files over POSIX calls: the C++ streams offer no fsync.
#include "lamp/base/files.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstring>
#include <system_error>
#include <utility>

#include "lamp/base/errors.h"

namespace lamp {
namespace fs = std::filesystem;
namespace {

// "case.nii.gz" becomes ".case.<pid>-<n>.tmp.nii.gz": hidden, unique, and of the same format to
// libraries that go by the extension.
fs::path temporary_name(const fs::path& path) {
  static std::atomic<unsigned> counter{0};
  const std::string name = path.filename().string();
  const std::size_t dot = name.find('.', 1);
  const std::string stem = name.substr(0, dot);
  const std::string extension = dot == std::string::npos ? "" : name.substr(dot);
  const std::string unique = std::to_string(getpid()) + "-" + std::to_string(counter++);
  return path.parent_path() / ("." + stem + "." + unique + ".tmp" + extension);
}

void sync_folder(const fs::path& folder) {
  const int descriptor = open(folder.empty() ? "." : folder.c_str(), O_RDONLY | O_DIRECTORY);
  if (descriptor < 0) return;  // some file systems refuse; the rename itself has happened
  fsync(descriptor);
  close(descriptor);
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
  const int descriptor = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) throw InputError("cannot read", path.string(), std::strerror(errno));
  struct Closer {
    int descriptor;
    ~Closer() { close(descriptor); }
  } closer{descriptor};
  struct stat status {};
  if (fstat(descriptor, &status) != 0 || !S_ISREG(status.st_mode))
    throw InputError("cannot read", path.string(), "not a regular file");
  const auto size = static_cast<std::size_t>(status.st_size);
  if (size > limit_bytes) {
    throw InputError("cannot read", path.string(),
                     std::to_string(size) + " bytes, more than the " + std::to_string(limit_bytes) +
                         " that such a file may have");
  }
  std::string bytes(size, '\0');
  std::size_t done = 0;
  while (done < size) {
    const ssize_t got = read(descriptor, bytes.data() + done, size - done);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0)
      throw InputError("cannot read", path.string(), got < 0 ? std::strerror(errno) : "it shrank");
    done += static_cast<std::size_t>(got);
  }
  return bytes;
}

void make_output_folder(const fs::path& folder) {
  std::error_code error;
  fs::create_directories(folder, error);
  if (error) {
    throw Error("cannot create the output folder: " + folder.string() + ": " + error.message() +
                "; choose another folder");
  }
  AtomicFile probe(folder /
                   "probe");  // throws if nothing can be written here; leaves nothing behind
}

}  // namespace lamp
