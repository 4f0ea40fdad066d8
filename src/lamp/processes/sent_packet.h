// A packet (packet.h) on its way: a message or two.
#pragma once

#include <torch/types.h>

#include <string>
#include <vector>

#include "lamp/processes/packet.h"
#include "lamp/processes/world.h"

namespace lamp {

// The messages that are under way; what they hold is kept by them.
std::vector<Message> send_packet(World& world, const PackedTensor& packed, int to, int tag,
                                 Cancellation* until);
// Waits for all of it. Throws as Message::wait(), and Error that names the sender where no packet
// numbered by its tag arrives.
UnpackedTensor receive_packet(World& world, int from, int tag, Cancellation* until,
                              const std::string& sender);

}  // namespace lamp
