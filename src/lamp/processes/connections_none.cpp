// Built where torch's Gloo cannot be used.
#include "lamp/base/errors.h"
#include "lamp/processes/connections.h"

namespace lamp {

std::unique_ptr<Connections> connect_processes(const Launch& launch, double) {
  throw Error(launch.launcher + " started " + std::to_string(launch.world) +
              " processes, but this program was built without what connects them: install "
              "libgloo-dev and build it again, or start one process");
}

}  // namespace lamp
