// Every slab asks all others for their frames before it sends, so that nobody waits in a circle.
#include "lamp/processes/process_slabs.h"

#include <algorithm>
#include <cstddef>
#include <set>
#include <utility>

#include "lamp/processes/packet.h"

namespace lamp {
namespace {

constexpr int kMostSlabStages = 64;
constexpr int kMostSlabReplicas = 64;
// More than these come around again: the messages of one exchange are all taken before the next.
constexpr int kTaggedMicrobatches = 1024;
constexpr int kTaggedExchanges = 256;

int slab_of_rank(const std::vector<int>& slab_ranks, int rank) {
  const auto found = std::find(slab_ranks.begin(), slab_ranks.end(), rank);
  TORCH_CHECK(found != slab_ranks.end(), "rank ", rank, " has none of these slabs");
  return static_cast<int>(found - slab_ranks.begin());
}

}  // namespace

ProcessSlabs::ProcessSlabs(World& world, std::shared_ptr<Cancellation> until, SlabPlace place,
                           int microbatch, SlabCut cut, c10::Device device)
    : SlabGroup(slab_of_rank(place.slab_ranks, world.rank()), std::move(cut)),
      world_(world),
      until_(std::move(until)),
      place_(std::move(place)),
      microbatch_(microbatch),
      device_(device) {
  const auto& ranks = place_.slab_ranks;
  TORCH_CHECK(std::set<int>(ranks.begin(), ranks.end()).size() == ranks.size(),
              "each slab needs a process of its own here; slabs of one process are InProcessSlabs");
  TORCH_CHECK(place_.stage >= 0 && place_.stage < kMostSlabStages && place_.replica >= 0 &&
                  place_.replica < kMostSlabReplicas,
              "stage ", place_.stage, " of replica ", place_.replica, " has no tags for its slabs");
}

int ProcessSlabs::next_tag() {
  const auto exchange = static_cast<int>(exchanges_++ % kTaggedExchanges);
  const int stage = place_.replica * kMostSlabStages + place_.stage;
  return kFirstSlabTag +
         (stage * kTaggedMicrobatches + microbatch_ % kTaggedMicrobatches) * kTaggedExchanges +
         exchange;
}

std::vector<torch::Tensor> ProcessSlabs::all_to_all(std::vector<torch::Tensor> outgoing) {
  const std::size_t slabs = place_.slab_ranks.size(), own = static_cast<std::size_t>(rank());
  TORCH_CHECK(outgoing.size() == slabs, outgoing.size(), " tensors for ", slabs, " slabs");
  const int tag = next_tag();
  count_sent(outgoing);
  std::vector<torch::Tensor> frames(slabs), incoming(slabs);
  std::vector<Message> receiving(slabs), sending, rests;
  for (std::size_t slab = 0; slab < slabs; ++slab) {
    if (slab == own) continue;
    frames[slab] = empty_frame();
    receiving[slab] = world_.irecv(frames[slab], place_.slab_ranks[slab], tag, until_.get());
  }
  for (std::size_t slab = 0; slab < slabs; ++slab) {
    if (slab == own) continue;
    const PackedTensor packed = pack(outgoing[slab], false, tag);
    sending.push_back(world_.isend(packed.frame, place_.slab_ranks[slab], tag, until_.get()));
    if (packed.rest.defined())
      sending.push_back(world_.isend(packed.rest, place_.slab_ranks[slab], tag, until_.get()));
  }
  for (std::size_t slab = 0; slab < slabs; ++slab) {
    if (slab == own) continue;
    receiving[slab].wait();
    const int from = place_.slab_ranks[slab];
    UnpackedTensor arrived = unpack(frames[slab], tag, world_.name(from) + ", for its slab,");
    if (arrived.has_rest) rests.push_back(world_.irecv(arrived.tensor, from, tag, until_.get()));
    incoming[slab] = std::move(arrived.tensor);
  }
  for (Message& message : rests) message.wait();
  for (Message& message : sending) message.wait();
  for (torch::Tensor& tensor : incoming)
    if (tensor.defined()) tensor = tensor.to(device_);
  incoming[own] = std::move(outgoing[own]);
  return incoming;
}

}  // namespace lamp
