// Places in the grid as ranks.
#include "lamp/processes/process_links.h"

#include <utility>

#include "lamp/processes/process_slabs.h"
#include "lamp/processes/process_transfer.h"
#include "lamp/processes/sent_packet.h"

namespace lamp {
namespace {

constexpr int kOfStageTag = kFirstTransferTag - 3;
constexpr int kBroadcastTag = kFirstTransferTag - 4;

}  // namespace

ProcessLinks::ProcessLinks(World& world, const ProcessGrid& grid)
    : world_(world),
      grid_(grid),
      replica_(world.rank() / grid.slabs / grid.stages),
      stage_(world.rank() / grid.slabs % grid.stages),
      slab_(world.rank() % grid.slabs) {
  TORCH_CHECK(grid.replicas * grid.stages * grid.slabs == world.size(), "a grid of ",
              grid.replicas * grid.stages * grid.slabs, " rows for ", world.size(), " processes");
  for (int replica = 0; replica < grid.replicas; ++replica)
    for (int slab = 0; slab < grid.slabs; ++slab) {
      if (rank_of(replica, stage_, slab) == world.rank()) lanes_.own = lanes_.ranks.size();
      lanes_.ranks.push_back(rank_of(replica, stage_, slab));
    }
}

std::unique_ptr<Transfer> ProcessLinks::transfer(std::vector<std::string> skips) {
  LanePlace place{.skips = std::move(skips), .lane = replica_ * grid_.slabs + slab_};
  for (int stage = 0; stage < grid_.stages; ++stage)
    place.stage_ranks.push_back(rank_of(replica_, stage, slab_));
  return std::make_unique<ProcessTransfer>(world_, std::move(place));
}

std::shared_ptr<SlabGroup> ProcessLinks::slabs(int microbatch, SlabCut cut, c10::Device device) {
  SlabPlace place{.stage = stage_, .replica = replica_};
  for (int slab = 0; slab < grid_.slabs; ++slab)
    place.slab_ranks.push_back(rank_of(replica_, stage_, slab));
  return std::make_shared<ProcessSlabs>(world_, until_, std::move(place), microbatch,
                                        std::move(cut), device);
}

torch::Tensor ProcessLinks::received(int from, int tag) {
  return receive_packet(world_, from, tag, until_.get(), world_.name(from)).tensor;
}

torch::Tensor ProcessLinks::broadcast(torch::Tensor own, std::size_t row) {
  const int from = static_cast<int>(row);
  if (from != world_.rank()) return received(from, kBroadcastTag);
  if (own.defined()) own = own.to(c10::kCPU);
  const PackedTensor packed = pack(own, /*wants_gradient=*/false, kBroadcastTag);
  std::vector<Message> messages;
  for (int rank = 0; rank < world_.size(); ++rank)
    if (rank != from)
      for (Message& message : send_packet(world_, packed, rank, kBroadcastTag, until_.get()))
        messages.push_back(std::move(message));
  for (Message& message : messages) message.wait();
  return own;
}

std::vector<torch::Tensor> ProcessLinks::gather_of_stage(torch::Tensor own) {
  std::vector<torch::Tensor> all(lanes_.ranks.size());
  const PackedTensor packed = pack(own, /*wants_gradient=*/false, kOfStageTag);
  std::vector<Message> messages;
  for (std::size_t lane = 0; lane < all.size(); ++lane)
    if (lane != lanes_.own)
      for (Message& message :
           send_packet(world_, packed, lanes_.ranks[lane], kOfStageTag, until_.get()))
        messages.push_back(std::move(message));
  for (std::size_t lane = 0; lane < all.size(); ++lane)
    if (lane != lanes_.own) all[lane] = received(lanes_.ranks[lane], kOfStageTag);
  for (Message& message : messages) message.wait();
  all[lanes_.own] = std::move(own);
  return all;
}

void ProcessLinks::sum_gradients(const std::vector<torch::Tensor>& parameters, std::size_t lanes) {
  if (lanes_.ranks.size() == 1) return;
  sum_gradients_of_lanes(world_, until_.get(), lanes_, lanes, parameters);
}

}  // namespace lamp
