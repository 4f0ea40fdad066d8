// How long the search for a plan may think: absurd requests (64 samples on 16 devices) leave
// thousands of cuts to compare, and whoever asks waits for seconds, not minutes. What was found by
// then is the answer, and it says so. Not thread-safe; no torch here.
#pragma once

#include <chrono>
#include <functional>
#include <limits>
#include <utility>

namespace lamp {

class SearchClock {
 public:
  // on_look: called often while a plan is made, to show progress or to throw where a user wants to
  // stop.
  explicit SearchClock(double seconds = std::numeric_limits<double>::infinity(),
                       std::function<void()> on_look = {})
      : seconds_(seconds), on_look_(std::move(on_look)), start_(Clock::now()) {}

  // From here on only the most promising of each kind is looked at.
  bool is_late() {
    if (on_look_) on_look_();
    return elapsed() > seconds_;
  }
  // From here on nothing is.
  bool is_too_late() {
    was_ended_ = (is_late() && elapsed() > 2 * seconds_) || was_ended_;
    return was_ended_;
  }
  // Whether anything was left out.
  bool was_ended() const { return was_ended_; }

  // What `work` takes does not count: measuring is no thinking.
  template <typename Work>
  auto without(const Work& work) {
    const auto begin = Clock::now();
    auto result = work();
    start_ += Clock::now() - begin;
    return result;
  }

 private:
  using Clock = std::chrono::steady_clock;
  double elapsed() const { return std::chrono::duration<double>(Clock::now() - start_).count(); }

  double seconds_;
  std::function<void()> on_look_;
  Clock::time_point start_;
  bool was_ended_ = false;
};

}  // namespace lamp
