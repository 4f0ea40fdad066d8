// POSIX calls, because the C++ streams cannot open without waiting.
#include "lamp/base/regular_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "lamp/base/errors.h"

namespace lamp {

RegularFile::RegularFile(const std::filesystem::path& path) : file_(path.string()) {
  // Opening a FIFO for reading would wait for a writer.
  descriptor_ = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (descriptor_ < 0) throw InputError(unreadable(file_, errno));
  struct stat status {};
  if (fstat(descriptor_, &status) == 0 && S_ISREG(status.st_mode)) {
    size_ = status.st_size;
    return;
  }
  close(descriptor_);
  if (S_ISDIR(status.st_mode))
    cannot_read(file_, {.found = "not a regular file but a folder", .fix = "name a file in it"});
  cannot_read(file_, {.found = "not a regular file (a pipe, socket or device)",
                      .fix = "copy it to a file"});
}

RegularFile::~RegularFile() { close(descriptor_); }

void RegularFile::read(std::int64_t offset, std::size_t count, char* out) const {
  std::size_t done = 0;
  while (done < count) {
    const ssize_t got =
        pread(descriptor_, out + done, count - done, offset + static_cast<off_t>(done));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) throw InputError(unreadable(file_, errno));
    if (got == 0) cannot_read(file_, {.found = "it shrank while it was read", .fix = "try again"});
    done += static_cast<std::size_t>(got);
  }
}

std::string RegularFile::start(std::size_t count) const {
  std::string bytes(std::min(count, static_cast<std::size_t>(size_)), '\0');
  read(0, bytes.size(), bytes.data());
  return bytes;
}

}  // namespace lamp
