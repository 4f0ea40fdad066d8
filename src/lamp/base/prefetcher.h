// Background work that stays a bounded number of items ahead of its consumer and hands them over in
// order.
#pragma once

#include <algorithm>
#include <condition_variable>
#include <cstdint>
#include <exception>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "lamp/base/errors.h"
#include "lamp/base/log.h"

namespace lamp {

// Calls make(first), make(first + 1), ... make(last - 1) on `threads` threads, at most `ahead`
// items before the one that next() will return, so memory is bounded by ahead + 1 items. An
// exception of make(i) is thrown by the call of next() that would have returned item i. make must
// be callable from several threads at once. The destructor waits only for the items being made.
// next() belongs to one consumer thread. More threads than items may be ahead are not started;
// where the system gives fewer, those do the work, and where it gives none, the constructor throws
// Error.
template <typename T>
class Prefetcher {
 public:
  struct Options {
    std::int64_t first = 0;
    std::int64_t last = 0;
    int threads = 1;
    std::int64_t ahead = 2;
  };

  Prefetcher(const Options& options, std::function<T(std::int64_t)> make)
      : options_(options),
        make_(std::move(make)),
        ready_(static_cast<std::size_t>(options.ahead + 1)),
        wanted_(options.first),
        returned_(options.first) {
    const std::int64_t useful = std::min(options.ahead + 1, options.last - options.first);
    const std::int64_t wanted = std::min<std::int64_t>(options.threads, useful);
    try {
      workers_.reserve(static_cast<std::size_t>(std::max<std::int64_t>(wanted, 0)));
      for (std::int64_t i = 0; i < wanted; ++i) workers_.emplace_back([this] { work(); });
    } catch (const std::exception& error) {  // too many threads, or no memory for another's stack
      const std::string found = "started " + std::to_string(workers_.size()) + " of " +
                                std::to_string(wanted) + " loader threads: " + error.what();
      if (workers_.empty())
        throw Error("cannot load data in the background: " + found +
                    "; allow the process more threads or memory (ulimit -u, ulimit -v)");
      log_warning_once(found);
    }
  }

  ~Prefetcher() {
    {
      const std::lock_guard lock(mutex_);
      stopping_ = true;
    }
    changed_.notify_all();
    for (auto& worker : workers_) worker.join();
  }

  Prefetcher(const Prefetcher&) = delete;
  Prefetcher& operator=(const Prefetcher&) = delete;

  // The next item in order, or nothing after the last.
  std::optional<T> next() {
    std::unique_lock lock(mutex_);
    if (returned_ >= options_.last) return std::nullopt;
    std::optional<Item>& slot = slot_of(returned_);
    changed_.wait(lock, [&slot] { return slot.has_value(); });
    Item item = *std::exchange(slot, std::nullopt);
    ++returned_;
    lock.unlock();
    changed_.notify_all();
    if (item.error) std::rethrow_exception(item.error);
    return std::move(item.value);
  }

 private:
  struct Item {
    std::optional<T> value;
    std::exception_ptr error;
  };

  std::optional<Item>& slot_of(std::int64_t index) {
    return ready_[static_cast<std::size_t>((index - options_.first) % std::ssize(ready_))];
  }

  void work() {
    std::unique_lock lock(mutex_);
    for (;;) {
      changed_.wait(lock, [this] {
        return stopping_ || wanted_ >= options_.last || wanted_ <= returned_ + options_.ahead;
      });
      if (stopping_ || wanted_ >= options_.last) return;
      const std::int64_t index = wanted_++;
      lock.unlock();
      Item item;
      try {
        item.value.emplace(make_(index));
      } catch (...) {
        item.error = std::current_exception();
      }
      lock.lock();
      slot_of(index) = std::move(item);
      changed_.notify_all();
    }
  }

  const Options options_;
  const std::function<T(std::int64_t)> make_;
  std::mutex mutex_;  // guards all below
  std::condition_variable changed_;
  // By index, in turn: no thread needs memory to hand over its item or its error.
  std::vector<std::optional<Item>> ready_;
  std::int64_t wanted_;    // the next item that no worker has taken
  std::int64_t returned_;  // the next item that next() returns
  bool stopping_ = false;
  std::vector<std::thread> workers_;
};

}  // namespace lamp
