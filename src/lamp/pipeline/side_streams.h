// Streams of GPUs beside those that compute, so that what is sent over links does not hold up the
// work of either end. The CPU has none: there all of this does nothing.
#pragma once

#include <c10/core/Device.h>
#include <c10/core/Stream.h>

#include <vector>

namespace lamp {

class SideStreams {
 public:
  // One for the device, unless it is the CPU or has one.
  void add(c10::Device device);
  bool empty() const { return streams_.empty(); }
  // They wait for what this thread has given their devices so far.
  void wait_for_thread() const;

  // While it lives, what this thread gives the devices runs on their side streams.
  class Scope {
   public:
    explicit Scope(const SideStreams& streams);
    ~Scope();
    Scope(const Scope&) = delete;
    Scope& operator=(const Scope&) = delete;

   private:
    std::vector<c10::Stream> before_;
  };

 private:
  std::vector<c10::Stream> streams_;  // of distinct devices
};

}  // namespace lamp
