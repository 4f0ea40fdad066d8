// Tensors between the stages of a lane that lie in several processes.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "lamp/pipeline/transfer.h"
#include "lamp/processes/outbox.h"
#include "lamp/processes/world.h"

namespace lamp {

// One lane's way through the processes; the same in all of them.
struct LanePlace {
  std::vector<int> stage_ranks;    // by stage: the process that runs it
  std::vector<std::string> skips;  // names of the chain's skips, in its order
  int lane = 0;                    // a number of its own among all lanes, below 512
};

// Between two stages of this process as InProcessTransfer. Through others a send returns at once;
// its tensor is kept until the receiver has taken it, and at a boundary it waits where `slots` are
// not taken yet. Nothing may be written into a tensor that was sent.
class ProcessTransfer : public Transfer {
 public:
  ProcessTransfer(World& world, LanePlace place);
  // Waits until what was sent has been taken, unless it was cancelled or the world has failed.
  ~ProcessTransfer() override = default;

  // Besides what Transfer says: WorldFailed; Error where a stranger's or another version's packet
  // arrives.
  void send(const Route& route, int microbatch, Packet packet) override;
  Packet receive(const Route& route, int microbatch, c10::Device device) override;
  // For good: the run is over then, since others wait for what will not come (World::fail).
  void cancel() override;
  // What others have sent and nobody has received yet stays.
  void reset(int boundary_slots) override;

 private:
  int rank_of(int stage) const { return place_.stage_ranks.at(static_cast<std::size_t>(stage)); }
  bool is_local(const Route& route) const;
  int tag_of(const Route& route, int microbatch) const;
  std::string sender(const Route& route, int microbatch) const;
  Outbox& outbox_of(const Route& route);

  World& world_;
  const LanePlace place_;
  InProcessTransfer local_;
  Cancellation until_;
  std::mutex mutex_;
  // Guarded by mutex_:
  std::map<Route, Outbox> outboxes_;
  int boundary_slots_ = 0;
};

}  // namespace lamp
