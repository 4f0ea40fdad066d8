// One thread that lives as long as its pipeline and runs one task after another. Threads are not
// made anew each step: torch keeps OpenMP teams, memory arenas and streams by thread.
#pragma once

#include <condition_variable>
#include <functional>
#include <mutex>
#include <optional>
#include <thread>

namespace lamp {

class Worker {
 public:
  Worker();
  // Waits for the task at work.
  ~Worker();
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;

  // Begins the task, which must not throw; the worker must be idle.
  void start(std::function<void()> task);
  void wait();

 private:
  void loop();

  std::mutex mutex_;
  std::condition_variable changed_;
  // Guarded by mutex_:
  std::optional<std::function<void()>> task_;
  bool stopping_ = false;
  std::thread thread_;  // last: it uses the others
};

}  // namespace lamp
