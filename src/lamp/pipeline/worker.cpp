// A mailbox of one task.
#include "lamp/pipeline/worker.h"

#include <utility>

namespace lamp {

Worker::Worker() : thread_([this] { loop(); }) {}

Worker::~Worker() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
    changed_.notify_all();
  }
  thread_.join();
}

void Worker::start(std::function<void()> task) {
  const std::lock_guard lock(mutex_);
  task_ = std::move(task);
  changed_.notify_all();
}

void Worker::wait() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return !task_.has_value(); });
}

void Worker::loop() {
  std::unique_lock lock(mutex_);
  while (true) {
    changed_.wait(lock, [&] { return stopping_ || task_.has_value(); });
    if (!task_) return;
    lock.unlock();
    (*task_)();
    lock.lock();
    task_.reset();
    changed_.notify_all();
  }
}

}  // namespace lamp
