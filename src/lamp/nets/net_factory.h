// The one list of networks: a new one is a pair of files and one line here.
#pragma once

#include <string>
#include <vector>

#include "lamp/nets/network.h"

namespace lamp {

std::vector<std::string> network_names();

// Builds the network with torch's default weights (see Network::initialise). Throws UsageError for
// a configuration that parse_net_config would refuse.
Network make_network(const NetConfig& config);

}  // namespace lamp
