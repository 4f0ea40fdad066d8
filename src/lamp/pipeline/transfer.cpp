// Mailboxes, one for each route and micro-batch.
#include "lamp/pipeline/transfer.h"

#include <c10/core/StreamGuard.h>
#include <c10/core/impl/VirtualGuardImpl.h>

#include <utility>

namespace lamp {
namespace {

c10::Stream current_stream(c10::Device device) {
  return c10::impl::VirtualGuardImpl(device.type()).getStream(device);
}

// The tensor on `device`. From a GPU it is copied on a stream from the pool, which waits for the
// sender's stream only; torch makes the receiver's stream wait for the copy. The sender's memory
// must not be handed out again before the copy is done, so its allocator is told of the stream.
torch::Tensor moved(const torch::Tensor& tensor, const std::optional<c10::Event>& ready,
                    c10::Device device) {
  if (tensor.device() == device) {
    if (ready) ready->block(current_stream(device));  // stages of one device share its stream
    return tensor;
  }
  const c10::Device source = tensor.device();
  if (source.is_cpu()) return tensor.to(device);
  const c10::Stream copying =
      c10::impl::VirtualGuardImpl(source.type()).getStreamFromGlobalPool(source);
  const c10::StreamGuard guard(copying);
  if (ready) ready->block(copying);
  torch::Tensor copy = tensor.to(device);
  tensor.record_stream(copying);
  return copy;
}

}  // namespace

void InProcessTransfer::send(const Route& route, int microbatch, Packet packet) {
  std::optional<c10::Event> ready;
  if (packet.tensor.defined() && !packet.tensor.device().is_cpu()) {
    ready.emplace(packet.tensor.device().type());
    ready->record(current_stream(packet.tensor.device()));
  }
  std::unique_lock lock(mutex_);
  if (boundary_slots_ > 0 && route.cargo == Cargo::kActivation && route.skip.empty()) {
    changed_.wait(lock, [&] {
      return cancelled_ || static_cast<int>(waiting_[route].size()) < boundary_slots_;
    });
  }
  if (cancelled_) throw Cancelled();
  const bool is_new =
      waiting_[route].emplace(microbatch, Waiting{std::move(packet), std::move(ready)}).second;
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
  if (arrived.packet.tensor.defined())
    arrived.packet.tensor = moved(arrived.packet.tensor, arrived.ready, device);
  return std::move(arrived.packet);
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
