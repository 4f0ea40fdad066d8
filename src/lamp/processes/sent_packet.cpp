// A frame, and a rest where the frame is too small.
#include "lamp/processes/sent_packet.h"

#include "lamp/processes/packet.h"

namespace lamp {

std::vector<Message> send_packet(World& world, const torch::Tensor& tensor, int to, int tag,
                                 Cancellation* until) {
  const PackedTensor packed = pack(tensor, false, tag);
  std::vector<Message> messages;
  messages.push_back(world.isend(packed.frame, to, tag, until));
  if (packed.rest.defined()) messages.push_back(world.isend(packed.rest, to, tag, until));
  return messages;
}

torch::Tensor receive_packet(World& world, int from, int tag, Cancellation* until) {
  const torch::Tensor frame = empty_frame();
  world.irecv(frame, from, tag, until).wait();
  UnpackedTensor arrived = unpack(frame, tag, world.name(from));
  if (arrived.has_rest) world.irecv(arrived.tensor, from, tag, until).wait();
  return std::move(arrived.tensor);
}

}  // namespace lamp
