// One flag and its handlers.
#include "lamp/base/interrupt.h"

#include <atomic>
#include <csignal>
#include <cstdint>
#include <ctime>
#include <string>

#include "lamp/base/errors.h"

namespace lamp {
namespace {

std::atomic<int> signal_seen{0};
static_assert(std::atomic<int>::is_always_lock_free,
              "a signal handler may only touch lock-free atomics");

std::atomic<std::int64_t> seen_at_ms{0};

std::int64_t now_ms() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);  // may be called in a signal handler
  return std::int64_t{1000} * now.tv_sec + now.tv_nsec / 1'000'000;
}

void remember(int signal) {
  // timeout(1) and batch systems signal a process and its group: the same word twice at once.
  constexpr std::int64_t kSameWordMs = 200;
  const std::int64_t now = now_ms();
  if (signal_seen.exchange(signal) == 0) {
    seen_at_ms = now;
  } else if (now - seen_at_ms >= kSameWordMs) {  // asked twice: the user will not wait
    std::signal(signal, SIG_DFL);
    std::raise(signal);
  }
}

std::atomic<bool> terminal_closed{false};

// Closing a terminal may send it twice, so the second is no more urgent than the first.
void remember_hang_up(int) {
  terminal_closed = true;
  int none = 0;
  signal_seen.compare_exchange_strong(none, SIGTERM);
}

}  // namespace

void watch_signals() {
  signal_seen = 0;
  terminal_closed = false;
  std::signal(SIGINT, remember);
  std::signal(SIGTERM, remember);
  std::signal(SIGPIPE, SIG_IGN);
  std::signal(SIGXFSZ, SIG_IGN);  // a limit on files (ulimit -f) is then a write that fails
  if (std::signal(SIGHUP, remember_hang_up) == SIG_IGN) std::signal(SIGHUP, SIG_IGN);  // nohup
}

int caught_signal() { return signal_seen.load(); }

void throw_if_interrupted(const char* what_was_saved) {
  const int signal = caught_signal();
  if (signal == 0) return;
  const char* name = terminal_closed ? "SIGHUP" : signal == SIGINT ? "SIGINT" : "SIGTERM";
  throw Interrupted(std::string("stopped by ") + name + ": " + what_was_saved, signal);
}

}  // namespace lamp
