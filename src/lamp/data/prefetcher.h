// Background work that stays a bounded number of items ahead of its consumer and hands them over in
// order.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <exception>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

namespace lamp {

// Calls make(first), make(first + 1), ... make(last - 1) on `threads` threads, at most `ahead`
// items before the one that next() will return, so memory is bounded by ahead + 1 items. An
// exception of make(i) is thrown by the call of next() that would have returned item i. make must
// be callable from several threads at once. The destructor waits only for the items being made.
// next() belongs to one consumer thread.
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
        wanted_(options.first),
        returned_(options.first) {
    for (int i = 0; i < options.threads; ++i) workers_.emplace_back([this] { work(); });
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
    changed_.wait(lock, [this] { return ready_.count(returned_) > 0; });
    Item item = std::move(ready_.extract(returned_).mapped());
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
      ready_.emplace(index, std::move(item));
      changed_.notify_all();
    }
  }

  const Options options_;
  const std::function<T(std::int64_t)> make_;
  std::mutex mutex_;  // guards all below
  std::condition_variable changed_;
  std::map<std::int64_t, Item> ready_;
  std::int64_t wanted_;    // the next item that no worker has taken
  std::int64_t returned_;  // the next item that next() returns
  bool stopping_ = false;
  std::vector<std::thread> workers_;
};

}  // namespace lamp
