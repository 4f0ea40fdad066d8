// POSIX calls, since the C++ streams wait for ever at a pipe.
#include "lamp/data/file_start.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <cerrno>
#include <cstring>
#include <utility>

#include "lamp/base/errors.h"

namespace lamp {
namespace fs = std::filesystem;
namespace {

[[noreturn]] void refuse(const fs::path& path, const std::string& detail) {
  throw InputError("cannot read", path.string(), detail);
}

class Descriptor {
 public:
  explicit Descriptor(const fs::path& path)
      : number_(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)) {
    if (number_ < 0) refuse(path, std::strerror(errno));
  }
  ~Descriptor() { close(number_); }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int number() const { return number_; }

 private:
  int number_;
};

using Magic = std::pair<std::string_view, const char*>;
constexpr std::array<Magic, 10> kMagics = {
    {{"\x1f\x8b", "gzip data"},
     {"BZh", "bzip2 data"},
     {{"\xfd"
       "7zXZ\0",
       6},
      "xz data"},
     {"\x28\xb5\x2f\xfd", "zstd data"},
     {"PK\x03\x04", "a zip archive"},
     {{"\x00\x05\x16\x07", 4}, "macOS's companion of a file"},
     {"%PDF", "a PDF document"},
     {"\x89PNG", "a PNG picture"},
     {"\xff\xd8\xff", "a JPEG picture"},
     {"<?xml", "XML"}}};

bool is_html(std::string_view bytes) {
  std::string start(bytes.substr(0, 512));
  std::transform(start.begin(), start.end(), start.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return start.find("<html") != std::string::npos ||
         start.find("<!doctype html") != std::string::npos;
}

}  // namespace

FileStart read_file_start(const fs::path& path, std::size_t count) {
  const Descriptor descriptor(path);
  struct stat status {};
  if (fstat(descriptor.number(), &status) != 0) refuse(path, std::strerror(errno));
  if (!S_ISREG(status.st_mode)) refuse(path, "not a regular file");
  FileStart start;
  start.file_size = static_cast<std::uint64_t>(status.st_size);
  start.bytes.resize(std::min<std::uint64_t>(count, start.file_size));
  std::size_t done = 0;
  while (done < start.bytes.size()) {
    const ssize_t got =
        read(descriptor.number(), start.bytes.data() + done, start.bytes.size() - done);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) refuse(path, got < 0 ? std::strerror(errno) : "it shrank while it was read");
    done += static_cast<std::size_t>(got);
  }
  return start;
}

std::string describe_start(std::string_view bytes) {
  if (bytes.empty()) return "an empty file";
  if (is_html(bytes)) return "an HTML page";
  for (const auto& [magic, name] : kMagics)
    if (bytes.starts_with(magic)) return name;
  bytes = bytes.substr(0, 512);
  if (std::all_of(bytes.begin(), bytes.end(), [](char c) { return c == '\0'; }))
    return "zeros only";
  const auto is_text = [](unsigned char c) {
    return c >= 32 || c == '\n' || c == '\r' || c == '\t';
  };
  return std::all_of(bytes.begin(), bytes.end(), is_text) ? "text" : "unknown contents";
}

std::string special_kind(const fs::path& path) {
  std::error_code error;
  const fs::file_status status = fs::status(path, error);
  switch (status.type()) {
    case fs::file_type::regular:
    case fs::file_type::directory:
      return "";
    case fs::file_type::fifo:
      return "a pipe";
    case fs::file_type::socket:
      return "a socket";
    case fs::file_type::block:
    case fs::file_type::character:
      return "a device";
    default:
      return fs::is_symlink(fs::symlink_status(path, error)) ? "a broken link" : "not readable";
  }
}

}  // namespace lamp
