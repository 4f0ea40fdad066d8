// Messages with a watch over them.
#include "lamp/processes/world.h"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <exception>
#include <thread>
#include <utility>

#include "lamp/pipeline/transfer.h"
#include "lamp/processes/connections.h"
#include "lamp/processes/meeting_point.h"
#include "lamp/processes/text_list.h"
#include "lamp/processes/watch.h"

namespace lamp {
namespace {

constexpr int kSentinelTag = 0;
constexpr int kTextTag = 1;
constexpr std::int64_t kLongestText = std::int64_t{1} << 30;

// The tensor's memory as bytes; they keep it.
torch::Tensor memory_of(const torch::Tensor& tensor) {
  TORCH_CHECK(tensor.defined() && tensor.device().is_cpu() && tensor.numel() > 0 &&
                  tensor.is_non_overlapping_and_dense(),
              "a message is a tensor on the CPU, without gaps and not empty");
  return torch::from_blob(
      tensor.data_ptr(), {static_cast<std::int64_t>(tensor.nbytes())}, [kept = tensor](void*) {},
      torch::kByte);
}

}  // namespace

struct World::Parts {
  Launch launch;
  int uncaught = 0;
  std::unique_ptr<Connections> connections;
  Cancellation everything;
  std::unique_ptr<Watch> watch;
  std::thread sentinel;

  // Waits for a message from the next process that never comes: it breaks when that one dies,
  // whatever all are doing meanwhile.
  void stand_sentinel() {
    const int next = (launch.rank + 1) % launch.world;
    const torch::Tensor nothing = torch::zeros({1}, torch::kByte);
    std::shared_ptr<Flight> flight;
    try {
      flight = connections->receive(nothing, next, kSentinelTag);
      if (everything.add(flight)) flight->wait();
    } catch (const std::exception&) {
      watch->lost(next, /*was_waited_for=*/false);
    }
    if (flight) everything.remove(flight);
  }
};

struct Message::State {
  const World& world;
  Cancellation& everything;
  Cancellation* until;
  int peer;
  std::shared_ptr<Flight> flight = nullptr;

  ~State() {
    if (!flight) return;
    everything.remove(flight);
    if (until != nullptr) until->remove(flight);
  }
  // Throws where it is to end at once.
  void begin(std::shared_ptr<Flight> begun) {
    flight = std::move(begun);
    const bool goes_on = everything.add(flight) && (until == nullptr || until->add(flight));
    if (!goes_on) throw_ended();
  }
  [[noreturn]] void throw_ended() const {
    world.throw_if_failed();
    throw Cancelled();
  }
};

Message::Message() = default;
Message::Message(Message&&) noexcept = default;
Message& Message::operator=(Message&&) noexcept = default;
Message::~Message() = default;

void Message::wait() {
  const std::unique_ptr<State> state = std::move(state_);
  TORCH_CHECK(state, "a message is waited for once");
  bool has_arrived = false;
  try {
    has_arrived = state->flight->wait();
  } catch (const std::exception&) {
    state->world.throw_lost(state->peer);
  }
  if (!has_arrived) state->throw_ended();
}

World::World(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {}

std::unique_ptr<World> World::join(const Launch& launch, const WorldOptions& options) {
  auto made = std::make_unique<Parts>();
  Parts& parts = *made;
  parts.launch = launch;
  parts.connections = connect_processes(launch, options.connect_s);
  parts.watch = std::make_unique<Watch>(
      WatchOptions{.rank = launch.rank,
                   .world = launch.world,
                   .silent_s = options.silent_s,
                   .board_is_rank_0 = !launch.uses_agent_store,
                   .board_place = place_text(launch.address, launch.port),
                   .on_failure = [&parts](const FailureCause&) { parts.everything.cancel(); }},
      parts.connections->board());
  parts.sentinel = std::thread([&parts] { parts.stand_sentinel(); });
  std::unique_ptr<World> world(new World(std::move(made)));
  world->barrier();
  parts.uncaught = std::uncaught_exceptions();
  return world;
}

World::~World() {
  if (std::uncaught_exceptions() > parts_->uncaught)
    fail("ended before the run was over", kExitRuntime);
  parts_->watch->leave();
  parts_->everything.cancel();
  parts_->sentinel.join();
}

int World::rank() const { return parts_->launch.rank; }
int World::size() const { return parts_->launch.world; }

const std::string& World::host(int rank) const {
  return parts_->connections->hosts()[static_cast<std::size_t>(rank)];
}

std::string World::name(int rank) const {
  return "rank " + std::to_string(rank) + " on " + host(rank);
}

int World::local_size() const {
  const auto& hosts = parts_->connections->hosts();
  return static_cast<int>(std::count(hosts.begin(), hosts.end(), host(rank())));
}

int World::local_rank() const {
  const auto& hosts = parts_->connections->hosts();
  return static_cast<int>(std::count(hosts.begin(), hosts.begin() + rank(), host(rank())));
}

void World::throw_failure(const FailureCause& cause) const {
  throw WorldFailed(cause, name(std::clamp(cause.rank, 0, size() - 1)));
}

void World::throw_if_failed() const {
  if (const auto cause = failure()) throw_failure(*cause);
}

void World::throw_lost(int peer) const {
  parts_->watch->lost(peer, /*was_waited_for=*/true);
  throw_if_failed();
  throw Error(name(peer) + ": its connection has broken");  // this process has left itself
}

Message World::begun(int peer, Cancellation* until,
                     const std::function<std::shared_ptr<Flight>()>& start) {
  TORCH_CHECK(peer >= 0 && peer < size() && peer != rank(), "rank ", rank(), " of ", size(),
              " has no message for rank ", peer);
  throw_if_failed();
  Message message;
  message.state_.reset(new Message::State{*this, parts_->everything, until, peer});
  std::shared_ptr<Flight> flight;
  try {
    flight = start();
  } catch (const std::exception&) {
    throw_lost(peer);
  }
  message.state_->begin(std::move(flight));
  return message;
}

Message World::isend(const torch::Tensor& tensor, int to, int tag, Cancellation* until) {
  const torch::Tensor memory = memory_of(tensor);
  return begun(to, until, [&] { return parts_->connections->send(memory, to, tag); });
}

Message World::irecv(const torch::Tensor& into, int from, int tag, Cancellation* until) {
  const torch::Tensor memory = memory_of(into);
  return begun(from, until, [&] { return parts_->connections->receive(memory, from, tag); });
}

// Its length, then its bytes.
void World::send_text(const std::string& text, int to) {
  send(torch::tensor(static_cast<std::int64_t>(text.size()), torch::kLong), to, kTextTag);
  if (text.empty()) return;
  torch::Tensor bytes = torch::empty({static_cast<std::int64_t>(text.size())}, torch::kByte);
  std::memcpy(bytes.data_ptr(), text.data(), text.size());
  send(bytes, to, kTextTag);
}

std::string World::receive_text(int from) {
  const torch::Tensor length = torch::zeros({}, torch::kLong);
  receive_into(length, from, kTextTag);
  const auto bytes = length.item<std::int64_t>();
  if (bytes < 0 || bytes > kLongestText)
    throw Error(name(from) + " sent a text of " + std::to_string(bytes) +
                " bytes; give all processes the same program");
  if (bytes == 0) return "";
  const torch::Tensor memory = torch::empty({bytes}, torch::kByte);
  receive_into(memory, from, kTextTag);
  return {static_cast<const char*>(memory.data_ptr()), static_cast<std::size_t>(bytes)};
}

std::string World::broadcast_text(const std::string& of_rank_0) {
  if (rank() != 0) return receive_text(0);
  for (int other = 1; other < size(); ++other) send_text(of_rank_0, other);
  return of_rank_0;
}

std::vector<std::string> World::gather_texts(const std::string& own) {
  if (rank() != 0) {
    send_text(own, 0);
    return unpacked_texts(receive_text(0));
  }
  std::vector<std::string> texts = {own};
  for (int other = 1; other < size(); ++other) texts.push_back(receive_text(other));
  broadcast_text(packed_texts(texts));
  return texts;
}

void World::barrier() { gather_texts(""); }

FailureCause World::fail(const std::string& what, int exit_code) {
  return parts_->watch->fail({rank(), exit_code, what});
}

std::optional<FailureCause> World::failure() const { return parts_->watch->cause(); }

void World::note_progress(const std::string& where) { parts_->watch->note_progress(where); }

}  // namespace lamp
