// The one list of networks: a new one is a pair of files and one line here.
#pragma once

#include <string>
#include <vector>

#include "lamp/nets/network.h"

namespace lamp {

std::vector<std::string> network_names();

// Volumes are padded to multiples of this along every axis.
std::int64_t stride_multiple(const NetConfig& config);

// Builds the network with torch's default weights (see Network::initialise). Throws UsageError for
// a configuration that parse_net_config would refuse.
Network make_network(const NetConfig& config);

}  // namespace lamp
