// A progress line for long work: a bar with rate and time left on a terminal, a plain line now and
// then elsewhere.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

namespace lamp {

// Not thread-safe: one owner. Prints to stderr, nothing when the log level hides info lines.
class Progress {
 public:
  Progress(std::string title, std::int64_t total, std::int64_t done = 0);
  ~Progress();  // ends the line
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  // `note` stands behind the bar, such as "loss 0.123".
  void advance(const std::string& note, std::int64_t steps = 1);
  // Removes the bar so that a log line can be printed; the next advance() draws it again.
  void clear();

 private:
  std::string line(const std::string& note) const;

  std::string title_;
  std::int64_t total_;
  std::int64_t done_;
  std::int64_t first_;
  bool terminal_;
  std::chrono::steady_clock::time_point start_;
  std::chrono::steady_clock::time_point shown_;
};

}  // namespace lamp
