// Streams and events; the CPU needs neither.
#include "lamp/pipeline/sent_tensor.h"

#include <c10/core/StreamGuard.h>
#include <c10/core/impl/VirtualGuardImpl.h>

#include <utility>

namespace lamp {
namespace {

c10::Stream current_stream(c10::Device device) {
  return c10::impl::VirtualGuardImpl(device.type()).getStream(device);
}

}  // namespace

SentTensor::SentTensor(torch::Tensor tensor) : tensor_(std::move(tensor)) {
  if (!tensor_.defined() || tensor_.device().is_cpu()) return;
  ready_ = std::make_shared<c10::Event>(tensor_.device().type());
  ready_->record(current_stream(tensor_.device()));
}

// From a GPU it is copied on a stream from the pool, which waits for the sender's stream only;
// torch makes the receiver's stream wait for the copy. The sender's memory must not be handed out
// again before the copy is done, so its allocator is told of the stream.
torch::Tensor SentTensor::on(c10::Device device) const {
  if (!tensor_.defined()) return {};
  const c10::Device source = tensor_.device();
  if (source == device) {
    if (!ready_) return tensor_;
    const c10::Stream stream = current_stream(device);  // that of all workers, or one beside it
    ready_->block(stream);
    tensor_.record_stream(stream);
    return tensor_;
  }
  if (source.is_cpu()) return tensor_.to(device);
  const c10::Stream copying =
      c10::impl::VirtualGuardImpl(source.type()).getStreamFromGlobalPool(source);
  const c10::StreamGuard guard(copying);
  ready_->block(copying);
  torch::Tensor copy = tensor_.to(device);
  tensor_.record_stream(copying);
  return copy;
}

SentTensor SentTensor::rows(std::int64_t first, std::int64_t count) const {
  SentTensor some;
  some.ready_ = ready_;
  if (tensor_.defined()) some.tensor_ = tensor_.narrow(0, first, count);
  return some;
}

}  // namespace lamp
