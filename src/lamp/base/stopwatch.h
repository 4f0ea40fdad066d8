// Seconds since it was made, or since the last lap.
#pragma once

#include <algorithm>
#include <chrono>
#include <iterator>
#include <vector>

namespace lamp {

class Stopwatch {
 public:
  double seconds() const {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
  }
  double lap() {
    const double elapsed = seconds();
    start_ = std::chrono::steady_clock::now();
    return elapsed;
  }

 private:
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

// The middle one of several rounds, at least one; of an even number the longer.
inline double median_seconds(std::vector<double> rounds) {
  const auto middle = rounds.begin() + std::ssize(rounds) / 2;
  std::nth_element(rounds.begin(), middle, rounds.end());
  return *middle;
}

}  // namespace lamp
