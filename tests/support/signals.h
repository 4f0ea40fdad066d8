// Signals to the test's own process, as Ctrl-C or a batch system would send them.
#pragma once

#include <csignal>

#include "lamp/base/interrupt.h"

namespace lamp::testing {

// As if none had come; the next SIGINT or SIGTERM ends the process, as a test's user expects.
inline void forget_signals() {
  watch_signals();
  std::signal(SIGINT, SIG_DFL);
  std::signal(SIGTERM, SIG_DFL);
}

inline void send_signal(int signal) {
  watch_signals();
  std::raise(signal);
}

}  // namespace lamp::testing
