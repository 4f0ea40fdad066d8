// A run of several processes, seen from one of them: tensors and short texts from one to another,
// and an end that all share. Over torch's own c10d with Gloo.
//
//   if (const auto launch = read_launch(std::getenv, host_name())) {
//     const auto world = World::join(*launch, {.silent_s = 120});
//     try {
//       ...
//     } catch (const Error& error) {
//       world->fail(error.what(), error.exit_code());  // nothing where it is a WorldFailed
//       throw;
//     }
//   }
//
// Where one process fails, dies or falls silent, every call below throws WorldFailed in every other
// one, those that wait at once: the same cause everywhere, the first.
#pragma once

#include <torch/types.h>

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "lamp/processes/cancellation.h"
#include "lamp/processes/launch.h"
#include "lamp/processes/world_failed.h"

namespace lamp {

struct WorldOptions {
  double connect_s = 60;  // until every process has come
  double silent_s = 120;  // a process that gives no sign of life for so long is lost
};

// Tags tell messages between two processes apart. Below kFirstTag they are World's own; see
// process_transfer.h and process_slabs.h for those from kFirstTransferTag on.
constexpr int kFirstTag = 16;
constexpr int kFirstTransferTag = 1 << 29;
constexpr int kFirstSlabTag = 1 << 30;

class World;

// A tensor under way. Must not outlive its world.
class Message {
 public:
  Message();
  Message(Message&&) noexcept;
  Message& operator=(Message&&) noexcept;
  ~Message();
  // Once. Throws WorldFailed, and Cancelled where its Cancellation was cancelled.
  void wait();

 private:
  friend class World;
  struct State;
  std::unique_ptr<State> state_;
};

// Thread-safe, but for what is said to be a call of all processes.
class World {
 public:
  // Returns when all processes have come. Throws Error with what to check (connections.h).
  static std::unique_ptr<World> join(const Launch& launch, const WorldOptions& options = {});
  // Leaves. Rank 0, where it keeps the store, waits until all others have left or failed. During
  // the unwinding of an exception it fails the world, if nobody has yet.
  ~World();
  World(const World&) = delete;
  World& operator=(const World&) = delete;

  int rank() const;
  int size() const;
  const std::string& host(int rank) const;
  std::string name(int rank) const;  // "rank 3 on node7"
  // Processes on this machine, and this one's number among them.
  int local_size() const;
  int local_rank() const;

  // The bytes of a tensor on the CPU without gaps (any order of dimensions, at least one element),
  // as they lie in memory; the receiver's has as many. Not to be written, or read, before wait().
  // Messages of one tag between two processes keep their order.
  Message isend(const torch::Tensor& tensor, int to, int tag, Cancellation* until = nullptr);
  Message irecv(const torch::Tensor& into, int from, int tag, Cancellation* until = nullptr);
  void send(const torch::Tensor& tensor, int to, int tag) { isend(tensor, to, tag).wait(); }
  void receive_into(const torch::Tensor& into, int from, int tag) { irecv(into, from, tag).wait(); }

  // Calls of all processes, in the same order everywhere, by one thread of each at a time.
  std::string broadcast_text(const std::string& of_rank_0);
  std::vector<std::string> gather_texts(const std::string& own);  // by rank, in all processes
  void barrier();

  // This process cannot go on: ends the run for all. Returns the cause that counts, which may have
  // been another one's. Within about a second all others know it.
  FailureCause fail(const std::string& what, int exit_code);
  std::optional<FailureCause> failure() const;
  void throw_if_failed() const;
  // Where this process is, for what others say when it is lost: "in step 41".
  void note_progress(const std::string& where);

 private:
  friend class Message;
  struct Parts;
  explicit World(std::unique_ptr<Parts> parts);
  [[noreturn]] void throw_failure(const FailureCause& cause) const;
  [[noreturn]] void throw_lost(int peer) const;
  Message begun(int peer, Cancellation* until,
                const std::function<std::shared_ptr<Flight>()>& start);
  void send_text(const std::string& text, int to);
  std::string receive_text(int from);

  std::unique_ptr<Parts> parts_;
};

}  // namespace lamp
