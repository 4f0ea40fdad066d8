// Drawing, with at most ten updates a second on a terminal and one line every 15 seconds elsewhere.
#include "lamp/base/progress.h"

#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <utility>

#include "lamp/base/log.h"
#include "lamp/base/text.h"

namespace lamp {
namespace {

using std::chrono::steady_clock;
constexpr auto kTerminalInterval = std::chrono::milliseconds(100);
constexpr auto kPlainInterval = std::chrono::seconds(15);

double seconds_since(steady_clock::time_point start) {
  return std::chrono::duration<double>(steady_clock::now() - start).count();
}

}  // namespace

Progress::Progress(std::string title, std::int64_t total, std::int64_t done)
    : title_(std::move(title)),
      total_(std::max<std::int64_t>(total, 1)),
      done_(done),
      first_(done),
      terminal_(isatty(STDERR_FILENO) == 1),
      start_(steady_clock::now()),
      shown_(start_) {}

Progress::~Progress() { clear(); }

void Progress::advance(const std::string& note, std::int64_t steps) {
  done_ += steps;
  const auto now = steady_clock::now();
  if (now - shown_ < (terminal_ ? steady_clock::duration(kTerminalInterval)
                                : steady_clock::duration(kPlainInterval)))
    return;
  shown_ = now;
  if (!info_is_shown()) return;
  if (terminal_) {
    std::fputs(("\r\x1b[K" + line(note)).c_str(), stderr);
    std::fflush(stderr);
  } else {
    log_info(line(note));
  }
}

void Progress::clear() {
  if (terminal_ && info_is_shown()) std::fputs("\r\x1b[K", stderr);
}

std::string Progress::line(const std::string& note) const {
  const double rate = static_cast<double>(done_ - first_) / std::max(seconds_since(start_), 1e-9);
  const double left = rate > 0 ? static_cast<double>(total_ - done_) / rate : 0;
  std::string bar;
  if (terminal_) {
    const auto filled = static_cast<std::size_t>(24 * std::min(done_, total_) / total_);
    bar = "[" + std::string(filled, '#') + std::string(24 - filled, '.') + "] ";
  }
  std::string text = title_ + " " + bar;
  text += std::to_string(done_) + "/" + std::to_string(total_) + " " + fixed(rate, 2) + "/s, ";
  text += clock_text(left) + " left, " + printable(note);
  return text;
}

}  // namespace lamp
