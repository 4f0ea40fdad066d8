// Messages of one route that are under way: their memory is kept until they have been taken, and
// whoever sends waits only where too many are.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

#include "lamp/processes/world.h"

namespace lamp {

// Thread-safe. A thread of its own waits for the messages, in their order.
class Outbox {
 public:
  Outbox();
  // Waits until all have been taken, or the world or their Cancellation ends them.
  ~Outbox();
  Outbox(const Outbox&) = delete;
  Outbox& operator=(const Outbox&) = delete;

  // Waits until fewer than `most` parcels are under way; 0 = no limit. Throws WorldFailed and
  // Cancelled as the messages do.
  void wait_for_place(std::size_t most);
  // A parcel: messages that belong together.
  void add(std::vector<Message> parcel);

 private:
  void run();

  std::mutex mutex_;
  std::condition_variable changed_;
  // Guarded by mutex_:
  std::deque<std::vector<Message>> parcels_;
  std::exception_ptr ended_by_;
  bool is_closing_ = false;

  std::thread thread_;
};

}  // namespace lamp
