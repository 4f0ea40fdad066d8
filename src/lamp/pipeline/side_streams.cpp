// torch's current streams, by device and thread.
#include "lamp/pipeline/side_streams.h"

#include <c10/core/Event.h>
#include <c10/core/impl/VirtualGuardImpl.h>

#include <algorithm>

namespace lamp {
namespace {

using c10::impl::VirtualGuardImpl;

}  // namespace

void SideStreams::add(c10::Device device) {
  const auto is_of = [&](const c10::Stream& stream) { return stream.device() == device; };
  if (device.is_cpu() || std::any_of(streams_.begin(), streams_.end(), is_of)) return;
  streams_.push_back(VirtualGuardImpl(device.type()).getStreamFromGlobalPool(device));
}

void SideStreams::wait_for_thread() const {
  for (const c10::Stream& stream : streams_) {
    c10::Event given(stream.device_type());
    given.record(VirtualGuardImpl(stream.device_type()).getStream(stream.device()));
    given.block(stream);
  }
}

SideStreams::Scope::Scope(const SideStreams& streams) {
  for (const c10::Stream& stream : streams.streams_)
    before_.push_back(VirtualGuardImpl(stream.device_type()).exchangeStream(stream));
}

SideStreams::Scope::~Scope() {
  for (const c10::Stream& stream : before_)
    VirtualGuardImpl(stream.device_type()).exchangeStream(stream);
}

}  // namespace lamp
