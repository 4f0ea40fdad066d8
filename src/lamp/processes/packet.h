// A tensor as bytes on their way between two processes: a frame of fixed size that says what
// follows, with the first elements of a small tensor, then the rest of a large one. Binary, of a
// fixed form, and checked: what arrives is never taken at its word.
#pragma once

#include <torch/types.h>

#include <cstdint>
#include <string>

namespace lamp {

constexpr std::int64_t kFrameBytes = 4096;

struct PackedTensor {
  torch::Tensor frame;  // [kFrameBytes] of kByte
  torch::Tensor rest;   // the tensor's own memory, or a copy without gaps; undefined = all is said
};

// tensor: undefined, or of floating point, whole numbers or bool, up to 8 dimensions, on any
// device. number: of the message, which the receiver expects.
PackedTensor pack(const torch::Tensor& tensor, bool wants_gradient, std::int64_t number);

struct UnpackedTensor {
  torch::Tensor tensor;  // on the CPU; sizes, strides and dtype as the sender's without gaps
  bool wants_gradient = false;
  bool has_rest = false;  // the tensor's bytes are to come
};

// An empty frame to receive into.
torch::Tensor empty_frame();
// Throws Error that names `from` where the frame is not one, or of another message.
UnpackedTensor unpack(const torch::Tensor& frame, std::int64_t number, const std::string& from);

}  // namespace lamp
