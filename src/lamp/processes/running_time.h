// Time that this process has run.
#pragma once

#include <algorithm>
#include <chrono>

namespace lamp {

// How long something has stayed as it is, counted only while this process runs: one that was
// stopped itself, with all others perhaps, must not take the pause for theirs. tick() is called
// several times a second.
class RunningTime {
 public:
  void tick() {
    const auto now = std::chrono::steady_clock::now();
    seconds_ += std::min(std::chrono::duration<double>(now - last_).count(), kLongestTick);
    last_ = now;
  }
  double seconds() const { return seconds_; }

 private:
  static constexpr double kLongestTick = 1;
  std::chrono::steady_clock::time_point last_ = std::chrono::steady_clock::now();
  double seconds_ = 0;
};

}  // namespace lamp
