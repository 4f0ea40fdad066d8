// One thread a route: c10d cannot say whether a message has been taken without waiting for it.
#include "lamp/processes/outbox.h"

#include <utility>

namespace lamp {

Outbox::Outbox() : thread_([this] { run(); }) {}

Outbox::~Outbox() {
  {
    const std::lock_guard lock(mutex_);
    is_closing_ = true;
    changed_.notify_all();
  }
  thread_.join();
}

void Outbox::wait_for_place(std::size_t most) {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return ended_by_ || most == 0 || parcels_.size() < most; });
  if (ended_by_) std::rethrow_exception(ended_by_);
}

void Outbox::add(std::vector<Message> parcel) {
  const std::lock_guard lock(mutex_);
  parcels_.push_back(std::move(parcel));
  changed_.notify_all();
}

// A parcel keeps its place while it is waited for.
void Outbox::run() {
  std::unique_lock lock(mutex_);
  while (true) {
    changed_.wait(lock, [&] { return is_closing_ || !parcels_.empty(); });
    if (parcels_.empty()) return;
    std::vector<Message> parcel = std::move(parcels_.front());
    lock.unlock();
    std::exception_ptr error;
    try {
      for (Message& message : parcel) message.wait();
    } catch (...) {
      error = std::current_exception();
    }
    parcel.clear();
    lock.lock();
    parcels_.pop_front();
    if (error && !ended_by_) ended_by_ = error;
    changed_.notify_all();
  }
}

}  // namespace lamp
