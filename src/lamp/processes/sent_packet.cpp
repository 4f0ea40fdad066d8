// A frame, and a rest where the frame is too small.
#include "lamp/processes/sent_packet.h"

namespace lamp {

std::vector<Message> send_packet(World& world, const PackedTensor& packed, int to, int tag,
                                 Cancellation* until) {
  std::vector<Message> messages;
  messages.push_back(world.isend(packed.frame, to, tag, until));
  if (packed.rest.defined()) messages.push_back(world.isend(packed.rest, to, tag, until));
  return messages;
}

UnpackedTensor receive_packet(World& world, int from, int tag, Cancellation* until,
                              const std::string& sender) {
  const torch::Tensor frame = empty_frame();
  world.irecv(frame, from, tag, until).wait();
  UnpackedTensor arrived = unpack(frame, tag, sender);
  if (arrived.has_rest) world.irecv(arrived.tensor, from, tag, until).wait();
  return arrived;
}

}  // namespace lamp
