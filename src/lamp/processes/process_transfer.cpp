// A packet is a message or two, with a tag that says lane, micro-batch and route.
#include "lamp/processes/process_transfer.h"

#include <algorithm>
#include <cstddef>
#include <utility>

#include "lamp/processes/sent_packet.h"

namespace lamp {
namespace {

constexpr int kMostLanes = 512;
constexpr int kTagsOfLane = 1 << 20;

std::string route_text(const Route& route) {
  const std::string what = route.cargo == Cargo::kActivation ? "activation" : "gradient";
  const std::string skip = route.skip.empty() ? "" : " of skip " + route.skip;
  return "the " + what + skip + " from stage " + std::to_string(route.from) + " to " +
         std::to_string(route.to);
}

}  // namespace

ProcessTransfer::ProcessTransfer(World& world, LanePlace place)
    : world_(world), place_(std::move(place)) {
  TORCH_CHECK(place_.lane >= 0 && place_.lane < kMostLanes, "lane ", place_.lane, " of at most ",
              kMostLanes);
}

bool ProcessTransfer::is_local(const Route& route) const {
  return rank_of(route.from) == rank_of(route.to);
}

// Routes are counted: boundaries by the stage in front of them, then skips; gradients after
// activations.
int ProcessTransfer::tag_of(const Route& route, int microbatch) const {
  const auto skip = std::find(place_.skips.begin(), place_.skips.end(), route.skip);
  TORCH_CHECK(route.skip.empty() || skip != place_.skips.end(), "no skip ", route.skip);
  const auto stages = static_cast<int>(place_.stage_ranks.size());
  const int ways = stages + static_cast<int>(place_.skips.size());
  const int way = route.skip.empty() ? std::min(route.from, route.to)
                                     : stages + static_cast<int>(skip - place_.skips.begin());
  const int routes = 2 * ways;
  TORCH_CHECK(microbatch >= 0 && microbatch < kTagsOfLane / routes, "micro-batch ", microbatch,
              " is beyond what ", routes, " routes have tags for");
  const int route_number = way + (route.cargo == Cargo::kGradient ? ways : 0);
  return kFirstTransferTag + place_.lane * kTagsOfLane + microbatch * routes + route_number;
}

std::string ProcessTransfer::sender(const Route& route, int microbatch) const {
  return world_.name(rank_of(route.from)) + ", for " + route_text(route) + " of micro-batch " +
         std::to_string(microbatch) + ",";
}

Outbox& ProcessTransfer::outbox_of(const Route& route) {
  const std::lock_guard lock(mutex_);
  return outboxes_[route];
}

void ProcessTransfer::send(const Route& route, int microbatch, Packet packet) {
  if (is_local(route)) return local_.send(route, microbatch, std::move(packet));
  if (until_.is_cancelled()) throw Cancelled();
  Outbox& outbox = outbox_of(route);
  const bool is_boundary = route.cargo == Cargo::kActivation && route.skip.empty();
  outbox.wait_for_place(is_boundary ? static_cast<std::size_t>(boundary_slots_) : 0);
  const int tag = tag_of(route, microbatch);
  const PackedTensor packed = pack(packet.tensor, packet.wants_gradient, tag);
  outbox.add(send_packet(world_, packed, rank_of(route.to), tag, &until_));
}

Packet ProcessTransfer::receive(const Route& route, int microbatch, c10::Device device) {
  if (is_local(route)) return local_.receive(route, microbatch, device);
  UnpackedTensor arrived = receive_packet(world_, rank_of(route.from), tag_of(route, microbatch),
                                          &until_, sender(route, microbatch));
  if (arrived.tensor.defined()) arrived.tensor = arrived.tensor.to(device);
  return {std::move(arrived.tensor), arrived.wants_gradient};
}

void ProcessTransfer::cancel() {
  until_.cancel();
  local_.cancel();
}

void ProcessTransfer::reset(int boundary_slots) {
  if (until_.is_cancelled()) return;
  local_.reset(boundary_slots);
  boundary_slots_ = boundary_slots;
}

}  // namespace lamp
