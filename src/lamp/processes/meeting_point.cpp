// Plain sockets: c10d's own would listen at every address, and say why they fail in many lines.
#include "lamp/processes/meeting_point.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <memory>
#include <optional>
#include <thread>
#include <utility>

#include "lamp/base/errors.h"

namespace lamp {
namespace {

using std::chrono::milliseconds;
using AddressList = std::unique_ptr<addrinfo, decltype(&freeaddrinfo)>;

constexpr milliseconds kLongestPause(100);  // between two attempts to connect

// Closed at the end, unless it is let go.
class OwnSocket {
 public:
  OwnSocket(const addrinfo& of, int kind) : socket_(socket(of.ai_family, kind | SOCK_CLOEXEC, 0)) {}
  ~OwnSocket() {
    if (socket_ >= 0) close(socket_);
  }
  OwnSocket(const OwnSocket&) = delete;
  OwnSocket& operator=(const OwnSocket&) = delete;
  int number() const { return socket_; }
  int release() { return std::exchange(socket_, -1); }

 private:
  int socket_;
};

AddressList looked_up(const std::string& name, int port, int flags) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = flags;
  addrinfo* found = nullptr;
  const int result = getaddrinfo(name.empty() ? nullptr : name.c_str(),
                                 std::to_string(port).c_str(), &hints, &found);
  if (result != 0)
    throw Error("cannot find the machine " + name + ": " + gai_strerror(result) +
                "; check MASTER_ADDR, the name or address of the machine of rank 0");
  return {found, freeaddrinfo};
}

std::string numbers_of(const sockaddr* address, socklen_t length) {
  std::array<char, NI_MAXHOST> text{};
  getnameinfo(address, length, text.data(), text.size(), nullptr, 0, NI_NUMERICHOST);
  return text.data();
}

std::string error_text(int number) { return std::strerror(number); }

// Nothing where a connection came about.
std::optional<int> connection_error(const addrinfo& to, int wait_ms) {
  const OwnSocket probe(to, SOCK_STREAM | SOCK_NONBLOCK);
  if (probe.number() < 0) return errno;
  if (connect(probe.number(), to.ai_addr, to.ai_addrlen) == 0) return std::nullopt;
  if (errno != EINPROGRESS) return errno;
  pollfd waiting{.fd = probe.number(), .events = POLLOUT, .revents = 0};
  if (poll(&waiting, 1, wait_ms) <= 0) return ETIMEDOUT;
  int error = 0;
  socklen_t length = sizeof error;
  getsockopt(probe.number(), SOL_SOCKET, SO_ERROR, &error, &length);
  return error == 0 ? std::nullopt : std::optional<int>(error);
}

[[noreturn]] void cannot_listen(const std::string& place, int error) {
  if (error == EADDRINUSE)
    throw Error("rank 0 cannot listen at " + place +
                ": the port is taken, perhaps by another run; set MASTER_PORT to a free one");
  if (error == EADDRNOTAVAIL)
    throw Error(
        "rank 0 cannot listen at " + place +
        ": that is not an address of its machine; set MASTER_ADDR to the machine of rank 0");
  throw Error("rank 0 cannot listen at " + place + ": " + error_text(error) +
              "; check MASTER_ADDR and MASTER_PORT");
}

}  // namespace

std::string place_text(const std::string& address, int port) {
  const bool has_colons = address.find(':') != std::string::npos;
  return (has_colons ? "[" + address + "]" : address) + ":" + std::to_string(port);
}

std::string numeric_address(const std::string& name, int port) {
  const AddressList found = looked_up(name, port, 0);
  return numbers_of(found->ai_addr, found->ai_addrlen);
}

bool is_loopback(const std::string& numeric) {
  return numeric.starts_with("127.") || numeric == "::1";
}

int bound_socket(const std::string& numeric, int port, bool everywhere) {
  const AddressList own = looked_up(numeric, port, AI_NUMERICHOST);
  const AddressList any =
      looked_up(own->ai_family == AF_INET ? "0.0.0.0" : "::", port, AI_NUMERICHOST);
  const addrinfo& at = everywhere ? *any : *own;
  OwnSocket listening(at, SOCK_STREAM);
  const int yes = 1;  // a run that is started again need not wait until the system forgets the last
  setsockopt(listening.number(), SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
  if (bind(listening.number(), at.ai_addr, at.ai_addrlen) != 0 ||
      listen(listening.number(), SOMAXCONN) != 0)
    cannot_listen(place_text(numeric, port), errno);
  return listening.release();
}

void wait_for_listener(const std::string& numeric, int port,
                       std::chrono::steady_clock::time_point deadline) {
  const AddressList found = looked_up(numeric, port, AI_NUMERICHOST);
  for (milliseconds pause(1);; pause = std::min(2 * pause, kLongestPause)) {
    const auto left =
        std::chrono::duration_cast<milliseconds>(deadline - std::chrono::steady_clock::now());
    const auto error = connection_error(*found, static_cast<int>(std::max<long>(left.count(), 1)));
    if (!error) return;
    if (std::chrono::steady_clock::now() + pause >= deadline)
      throw Error("no answer from rank 0 at " + place_text(numeric, port) + ": " +
                  error_text(*error) +
                  "; check that rank 0 has started, MASTER_ADDR, MASTER_PORT and the firewall");
    std::this_thread::sleep_for(pause);
  }
}

std::string own_address_towards(const std::string& numeric, int port) {
  const AddressList found = looked_up(numeric, port, AI_NUMERICHOST);
  const OwnSocket probe(*found, SOCK_DGRAM);
  sockaddr_storage own{};
  socklen_t length = sizeof own;
  if (connect(probe.number(), found->ai_addr, found->ai_addrlen) != 0 ||
      getsockname(probe.number(), reinterpret_cast<sockaddr*>(&own), &length) != 0)
    throw Error("no way to the machine of rank 0, " + numeric + ": " + error_text(errno) +
                "; check MASTER_ADDR and the network");
  return numbers_of(reinterpret_cast<sockaddr*>(&own), length);
}

std::string reachable_address(const std::vector<Presence>& all, int rank) {
  const Presence& own = all[static_cast<std::size_t>(rank)];
  if (!is_loopback(own.own_address)) return own.own_address;
  for (const Presence& other : all)
    if (other.host != own.host && !is_loopback(other.rank_0)) return other.rank_0;
  return own.own_address;
}

}  // namespace lamp
