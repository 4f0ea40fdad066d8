// Channels last (D, H, W, C) or contiguous (C, D, H, W)? Which one is faster depends on device,
// precision and width, so a network's typical convolutions are timed in both. Bits depend on the
// layout: whoever must repeat a result keeps the answer (a run in its config.json).
#pragma once

#include <c10/core/Device.h>
#include <c10/core/MemoryFormat.h>

#include <cstdint>
#include <functional>
#include <string>

#include "lamp/nets/network.h"
#include "lamp/nets/precision.h"

namespace lamp {

enum class Layout { kChannelsLast, kContiguous };

std::string to_string(Layout layout);  // channels_last, contiguous
c10::MemoryFormat memory_format(Layout layout);
// Channels last on the CPU, where transposed convolutions are many times as fast in it; contiguous
// elsewhere.
Layout usual_layout(c10::DeviceType device);

using LayoutTimer = std::function<double(Layout)>;  // seconds of the same work
// Times both in turn and takes `usual` unless the other was faster in every round and by more than
// a fifth at best: noise does not change the answer.
Layout faster_layout(Layout usual, const LayoutTimer& seconds);

struct LayoutQuestion {
  c10::Device device;
  Precision precision = Precision::kFp32;
  std::int64_t width = 32;  // of the network
  bool training = false;    // gradients count, too
};

// "channels_last", "contiguous", or "auto": measured once a process (tenths of a second), then
// remembered. Thread-safe. Throws UsageError for another name.
Layout choose_layout(const std::string& name, const LayoutQuestion& question);

}  // namespace lamp
