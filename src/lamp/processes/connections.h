// The connections between the processes of a run: torch's own store and Gloo behind them.
#pragma once

#include <torch/types.h>

#include <memory>
#include <string>
#include <vector>

#include "lamp/processes/board.h"
#include "lamp/processes/cancellation.h"
#include "lamp/processes/launch.h"

namespace lamp {

// Thread-safe. Messages with one tag between two processes arrive in the order in which they were
// sent; both sides name the same number of bytes, more than none.
class Connections {
 public:
  virtual ~Connections() = default;
  // bytes: one dimension of kByte on the CPU, kept until the message is forgotten. Throw where the
  // other side has gone.
  virtual std::shared_ptr<Flight> send(const torch::Tensor& bytes, int to, int tag) = 0;
  virtual std::shared_ptr<Flight> receive(const torch::Tensor& bytes, int from, int tag) = 0;
  // For one thread.
  virtual std::shared_ptr<Board> board() = 0;
  // The machines' names, by rank.
  virtual const std::vector<std::string>& hosts() const = 0;
};

// Returns when all processes have come and are connected. Throws Error, one line that says what to
// check: an address that does not answer within so many seconds, a port that is taken, ranks that
// have not come; and where this program was built without Gloo.
std::unique_ptr<Connections> connect_processes(const Launch& launch, double connect_s);

}  // namespace lamp
