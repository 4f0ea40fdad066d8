// A tensor of any kind in one message or two (packet.h), for who sends without a Transfer.
#pragma once

#include <torch/types.h>

#include <vector>

#include "lamp/processes/world.h"

namespace lamp {

// The messages that are under way; what they hold is kept by them.
std::vector<Message> send_packet(World& world, const torch::Tensor& tensor, int to, int tag,
                                 Cancellation* until);
// On the CPU. Throws as Message::wait(), and Error where no packet of this tag arrives.
torch::Tensor receive_packet(World& world, int from, int tag, Cancellation* until);

}  // namespace lamp
