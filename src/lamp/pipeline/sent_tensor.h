// A tensor on its way from one worker's device to another's.
#pragma once

#include <c10/core/Event.h>
#include <torch/types.h>

#include <cstdint>
#include <memory>

namespace lamp {

// Made by the sender's thread, opened by the receiver's. May hold an undefined tensor.
class SentTensor {
 public:
  SentTensor() = default;
  explicit SentTensor(torch::Tensor tensor);

  // The tensor on `device`. Nothing is copied on the CPU or between two workers of one device.
  // Between GPUs the copy runs on a stream of its own while both devices go on computing.
  torch::Tensor on(c10::Device device) const;
  // So many of its rows (the first dimension), on the same way.
  SentTensor rows(std::int64_t first, std::int64_t count) const;
  // As it lies at the sender's, where it may not be made yet: for its shape.
  const torch::Tensor& tensor() const { return tensor_; }

 private:
  torch::Tensor tensor_;
  std::shared_ptr<c10::Event> ready_;  // recorded on the sender's stream
};

}  // namespace lamp
