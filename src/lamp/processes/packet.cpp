// Strides travel with the sizes, so that kernels round at the receiver's as they would at the
// sender's.
#include "lamp/processes/packet.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <numeric>
#include <vector>

#include "lamp/base/errors.h"

namespace lamp {
namespace {

constexpr std::uint64_t kPacketMagic = 0x3154'4b50'504d'414cU;  // "LAMPPKT1" where it is read
constexpr std::size_t kMostDimensions = 8;
constexpr std::int64_t kMostBytes = std::int64_t{1} << 42;
constexpr std::array kPacketTypes = {
    torch::kFloat32, torch::kFloat64, torch::kFloat16, torch::kBFloat16, torch::kInt8,
    torch::kUInt8,   torch::kInt16,   torch::kInt32,   torch::kInt64,    torch::kBool};

struct PacketHeader {
  std::uint64_t magic;
  std::int64_t number;
  std::uint8_t is_defined;
  std::uint8_t wants_gradient;
  std::uint8_t type;  // place in kPacketTypes
  std::uint8_t dimensions;
  std::uint32_t unused;
  std::array<std::int64_t, kMostDimensions> sizes;
  std::array<std::int64_t, kMostDimensions> strides;
};
constexpr std::int64_t kInlineBytes = kFrameBytes - static_cast<std::int64_t>(sizeof(PacketHeader));

// On the CPU, with every element once and nothing between them; the order of dimensions stays.
torch::Tensor without_gaps(const torch::Tensor& tensor) {
  const torch::Tensor own = tensor.detach().cpu();
  return own.is_non_overlapping_and_dense() ? own : own.clone(at::MemoryFormat::Preserve);
}

PacketHeader header_of(const torch::Tensor& tensor, bool wants_gradient, std::int64_t number) {
  PacketHeader header{.magic = kPacketMagic, .number = number};
  header.wants_gradient = wants_gradient ? 1 : 0;
  if (!tensor.defined()) return header;
  const auto* type = std::find(kPacketTypes.begin(), kPacketTypes.end(), tensor.scalar_type());
  TORCH_CHECK(type != kPacketTypes.end() && tensor.dim() <= std::int64_t{kMostDimensions},
              "cannot send a tensor of ", tensor.scalar_type(), " and sizes ", tensor.sizes());
  header.is_defined = 1;
  header.type = static_cast<std::uint8_t>(type - kPacketTypes.begin());
  header.dimensions = static_cast<std::uint8_t>(tensor.dim());
  std::copy(tensor.sizes().begin(), tensor.sizes().end(), header.sizes.begin());
  std::copy(tensor.strides().begin(), tensor.strides().end(), header.strides.begin());
  return header;
}

// Bytes of all elements; -1 where that is nonsense.
std::int64_t checked_bytes(const PacketHeader& header) {
  std::int64_t bytes = static_cast<std::int64_t>(c10::elementSize(kPacketTypes[header.type]));
  for (std::size_t d = 0; d < header.dimensions; ++d) {
    const std::int64_t size = header.sizes[d];
    if (size < 0 || (size > 0 && bytes > kMostBytes / size)) return -1;
    bytes *= size;
  }
  return bytes;
}

// The strides place every element once, without gaps.
bool strides_fit(const PacketHeader& header) {
  std::vector<std::size_t> order;
  for (std::size_t d = 0; d < header.dimensions; ++d) {
    if (header.strides[d] < 0 || header.strides[d] > kMostBytes) return false;
    if (header.sizes[d] != 1) order.push_back(d);
  }
  std::sort(order.begin(), order.end(),
            [&](std::size_t a, std::size_t b) { return header.strides[a] < header.strides[b]; });
  std::int64_t expected = 1;
  for (const std::size_t d : order) {
    if (header.strides[d] != expected) return false;
    expected *= header.sizes[d];
  }
  return true;
}

torch::Tensor tensor_for(const PacketHeader& header, std::int64_t bytes) {
  const auto options = torch::TensorOptions(kPacketTypes[header.type]);
  const at::IntArrayRef sizes(header.sizes.data(), header.dimensions);
  if (bytes == 0) return torch::empty(sizes, options);
  return torch::empty_strided(sizes, at::IntArrayRef(header.strides.data(), header.dimensions),
                              options);
}

std::uint8_t* inline_place(const torch::Tensor& frame) {
  return frame.data_ptr<std::uint8_t>() + sizeof(PacketHeader);
}

}  // namespace

torch::Tensor empty_frame() { return torch::zeros({kFrameBytes}, torch::kByte); }

PackedTensor pack(const torch::Tensor& tensor, bool wants_gradient, std::int64_t number) {
  PackedTensor packed{.frame = empty_frame()};
  const torch::Tensor dense = tensor.defined() ? without_gaps(tensor) : tensor;
  const PacketHeader header = header_of(dense, wants_gradient, number);
  std::memcpy(packed.frame.data_ptr(), &header, sizeof header);
  if (!dense.defined() || dense.numel() == 0) return packed;
  if (static_cast<std::int64_t>(dense.nbytes()) > kInlineBytes)
    packed.rest = dense;
  else
    std::memcpy(inline_place(packed.frame), dense.data_ptr(), dense.nbytes());
  return packed;
}

UnpackedTensor unpack(const torch::Tensor& frame, std::int64_t number, const std::string& from) {
  PacketHeader header;
  std::memcpy(&header, frame.data_ptr(), sizeof header);
  const auto refuse = [&](const std::string& why) {
    throw Error(from + " sent " + why +
                "; give all processes the same program, configuration and data");
  };
  if (header.magic != kPacketMagic) refuse("something that is no tensor");
  if (header.number != number)
    refuse("message " + std::to_string(header.number) + " where " + std::to_string(number) +
           " was expected");
  UnpackedTensor unpacked{.wants_gradient = header.wants_gradient != 0};
  if (header.is_defined == 0) return unpacked;
  if (header.type >= kPacketTypes.size() || header.dimensions > kMostDimensions)
    refuse("a tensor of an unknown kind");
  const std::int64_t bytes = checked_bytes(header);
  if (bytes < 0 || (bytes > 0 && !strides_fit(header))) refuse("a tensor of impossible sizes");
  unpacked.tensor = tensor_for(header, bytes);
  unpacked.has_rest = bytes > kInlineBytes;
  if (bytes > 0 && !unpacked.has_rest)
    std::memcpy(unpacked.tensor.data_ptr(), inline_place(frame), static_cast<std::size_t>(bytes));
  return unpacked;
}

}  // namespace lamp
