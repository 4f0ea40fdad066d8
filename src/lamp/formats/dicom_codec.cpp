// The only file that includes GDCM. The other process is forked without a program of its own; it
// touches nothing of the first one but its memory, which it gets a copy of.
#include "lamp/formats/dicom_codec.h"

#include <fcntl.h>
#include <gdcmImage.h>
#include <gdcmImageReader.h>
#include <gdcmTrace.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <cstring>
#include <exception>
#include <sstream>

#include "lamp/base/errors.h"
#include "lamp/base/host_memory.h"

namespace lamp {
namespace {

constexpr int kPatienceMs = 60'000;  // for one slice, which takes well below a second

// Explicit VR little endian, as all encapsulated syntaxes are.
class Composer {
 public:
  void element(std::uint16_t group, std::uint16_t tag, const std::string& type, std::string value) {
    if (value.size() % 2) value += type == "UI" ? '\0' : ' ';
    word(group);
    word(tag);
    bytes_ += type;
    word(static_cast<std::uint16_t>(value.size()));
    bytes_ += value;
  }
  void number(std::uint16_t group, std::uint16_t tag, std::int64_t value) {
    element(group, tag, "US", {static_cast<char>(value & 255), static_cast<char>(value >> 8)});
  }
  void pixels(std::string_view fragments) {
    word(0x7FE0);
    word(0x0010);
    bytes_ += "OB";
    bytes_.append("\0\0\xFF\xFF\xFF\xFF", 6);
    bytes_ += fragments;
  }
  const std::string& bytes() const { return bytes_; }

 private:
  void word(std::uint16_t value) {
    bytes_ += static_cast<char>(value & 255);
    bytes_ += static_cast<char>(value >> 8);
  }

  std::string bytes_;
};

// The smallest file that says how to decode the voxels.
std::string compose(const EncodedSlice& slice) {
  const std::string kind = "1.2.840.10008.5.1.4.1.1.7", name = "1.2.3";
  const DicomPixels& layout = slice.layout;
  Composer file;
  file.element(2, 2, "UI", kind);
  file.element(2, 3, "UI", name);
  file.element(2, 0x10, "UI", slice.transfer_syntax);
  file.element(8, 0x16, "UI", kind);
  file.element(8, 0x18, "UI", name);
  file.element(8, 0x60, "CS", "OT");
  file.element(0x20, 0xD, "UI", name);
  file.element(0x20, 0xE, "UI", name);
  file.number(0x28, 2, 1);
  file.element(0x28, 4, "CS", "MONOCHROME2");
  file.number(0x28, 0x10, layout.height);
  file.number(0x28, 0x11, layout.width);
  file.number(0x28, 0x100, layout.bits_allocated);
  file.number(0x28, 0x101, layout.bits_stored);
  file.number(0x28, 0x102, layout.high_bit);
  file.number(0x28, 0x103, layout.is_signed ? 1 : 0);
  file.pixels(slice.fragments);
  return std::string(128, '\0') + "DICM" + file.bytes();
}

// Empty if it cannot be decoded.
std::string decoded(const std::string& composed, std::size_t expected_bytes) {
  std::istringstream stream(composed);
  gdcm::ImageReader reader;
  reader.SetStream(stream);
  if (!reader.Read()) return "";
  const gdcm::Image& image = reader.GetImage();
  if (image.GetBufferLength() != expected_bytes) return "";
  std::string bytes(expected_bytes, '\0');
  return image.GetBuffer(bytes.data()) ? bytes : "";
}

bool wait_for(int socket, short event) {
  pollfd state{.fd = socket, .events = event, .revents = 0};
  int ready = 0;
  do ready = poll(&state, 1, kPatienceMs);
  while (ready < 0 && errno == EINTR);
  return ready > 0;
}

bool send_all(int socket, std::string_view bytes) {
  while (!bytes.empty()) {
    if (!wait_for(socket, POLLOUT)) return false;
    const ssize_t sent = send(socket, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR) continue;
    if (sent <= 0) return false;
    bytes.remove_prefix(static_cast<std::size_t>(sent));
  }
  return true;
}

bool receive_all(int socket, char* bytes, std::size_t count, bool patiently) {
  while (count > 0) {
    if (!patiently && !wait_for(socket, POLLIN)) return false;
    const ssize_t got = recv(socket, bytes, count, 0);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return false;
    bytes += got;
    count -= static_cast<std::size_t>(got);
  }
  return true;
}

// A damaged stream may claim any size, which a codec believes: it gets what the slice can need, and
// fails beyond. (Counted are the heap and anonymous maps, the parent's included.)
void limit_memory([[maybe_unused]] std::size_t composed_bytes,
                  [[maybe_unused]] std::size_t expected_bytes) {
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)  // whose memory counts as well
  constexpr std::size_t kCodec = std::size_t{256} << 20;
  const auto mine = static_cast<std::size_t>(data_bytes());
  rlimit limit{};
  if (mine == 0 || getrlimit(RLIMIT_DATA, &limit) != 0) return;
  limit.rlim_cur =
      std::min<rlim_t>(limit.rlim_max, mine + kCodec + 4 * composed_bytes + 32 * expected_bytes);
  setrlimit(RLIMIT_DATA, &limit);
#endif
}

using Sizes = std::array<std::uint64_t, 2>;  // of a composed file, and of its voxels

std::string_view bytes_of(const Sizes& sizes) {
  return {reinterpret_cast<const char*>(sizes.data()), sizeof sizes};
}

// The other process: decodes until nobody asks any more. Its messages go nowhere.
[[noreturn]] void serve(int socket) {
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) std::signal(signal, SIG_IGN);
  for (const int signal : {SIGABRT, SIGSEGV, SIGBUS, SIGFPE, SIGILL}) std::signal(signal, SIG_DFL);
  const int nowhere = open("/dev/null", O_WRONLY | O_CLOEXEC);
  for (const int stream : {STDOUT_FILENO, STDERR_FILENO}) dup2(nowhere, stream);
  gdcm::Trace::WarningOff();
  gdcm::Trace::ErrorOff();
  gdcm::Trace::DebugOff();
  Sizes sizes{};
  while (receive_all(socket, reinterpret_cast<char*>(sizes.data()), sizeof sizes, true)) {
    std::string bytes;
    try {
      std::string composed(sizes[0], '\0');
      if (!receive_all(socket, composed.data(), composed.size(), true)) break;
      limit_memory(sizes[0], sizes[1]);
      bytes = decoded(composed, sizes[1]);
    } catch (const std::exception&) {  // an answer without bytes says it
    }
    if (!send_all(socket, bytes_of({bytes.size(), 0})) || !send_all(socket, bytes)) break;
  }
  _exit(0);
}

}  // namespace

DicomCodec::~DicomCodec() { stop(); }

void DicomCodec::start() {
  std::array<int, 2> ends{};
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) != 0)
    throw Error(std::string("cannot start a process that decodes DICOM: ") + std::strerror(errno));
  process_ = fork();
  if (process_ == 0) {
    close(ends[0]);
    serve(ends[1]);
  }
  const int cause = errno;
  close(ends[1]);
  socket_ = ends[0];
  if (process_ > 0) return;
  stop();
  throw Error(std::string("cannot start a process that decodes DICOM: ") + std::strerror(cause));
}

void DicomCodec::stop() {
  if (socket_ >= 0) close(socket_);
  socket_ = -1;
  if (process_ > 0) {
    kill(process_, SIGKILL);  // it holds nothing that could be lost
    while (waitpid(process_, nullptr, 0) < 0 && errno == EINTR) {
    }
  }
  process_ = -1;
}

std::string DicomCodec::decode(const EncodedSlice& slice, const std::string& file) {
  if (process_ < 0) start();
  const std::string composed = compose(slice);
  const auto expected = static_cast<std::uint64_t>(slice.layout.bytes());
  Sizes answer{};
  const bool alive =
      send_all(socket_, bytes_of({composed.size(), expected})) && send_all(socket_, composed) &&
      receive_all(socket_, reinterpret_cast<char*>(answer.data()), sizeof answer, false);
  std::string bytes(alive && answer[0] == expected ? expected : 0, '\0');
  if (!alive || !receive_all(socket_, bytes.data(), bytes.size(), false)) {
    stop();
    bytes.clear();
  }
  if (bytes.empty())
    cannot_read(file,
                {.found = "its compressed voxels cannot be decoded",
                 .fix = "get the file again, or convert the series to explicit VR little endian"});
  return bytes;
}

}  // namespace lamp
