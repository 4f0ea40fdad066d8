// Mailboxes, one for each route and micro-batch.
#include "lamp/pipeline/transfer.h"

#include <utility>

namespace lamp {

void InProcessTransfer::send(const Route& route, int microbatch, Packet packet) {
  Waiting sent{SentTensor(std::move(packet.tensor)), packet.wants_gradient};
  std::unique_lock lock(mutex_);
  if (boundary_slots_ > 0 && route.cargo == Cargo::kActivation && route.skip.empty()) {
    changed_.wait(lock, [&] {
      return cancelled_ || static_cast<int>(waiting_[route].size()) < boundary_slots_;
    });
  }
  if (cancelled_) throw Cancelled();
  const bool is_new = waiting_[route].emplace(microbatch, std::move(sent)).second;
  TORCH_CHECK(is_new, "micro-batch ", microbatch, " sent twice from stage ", route.from, " to ",
              route.to);
  changed_.notify_all();
}

Packet InProcessTransfer::receive(const Route& route, int microbatch, c10::Device device) {
  std::unique_lock lock(mutex_);
  auto& box = waiting_[route];
  changed_.wait(lock, [&] { return cancelled_ || box.contains(microbatch); });
  if (cancelled_) throw Cancelled();
  Waiting arrived = std::move(box.extract(microbatch).mapped());
  changed_.notify_all();
  lock.unlock();
  return {arrived.tensor.on(device), arrived.wants_gradient};
}

void InProcessTransfer::cancel() {
  const std::lock_guard lock(mutex_);
  cancelled_ = true;
  changed_.notify_all();
}

void InProcessTransfer::reset(int boundary_slots) {
  const std::lock_guard lock(mutex_);
  waiting_.clear();
  cancelled_ = false;
  boundary_slots_ = boundary_slots;
}

}  // namespace lamp
