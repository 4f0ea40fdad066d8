// Who is still there. Each process renews a text on the board about once a second, from a thread of
// its own, however long it computes. Who does not for `silent_s` has stopped or lost its network. A
// process that dies is noticed at its closed connections instead, which is told here (lost()). The
// first cause of all processes stands on the board for good, and each reads it within a moment.
//
// Two threads: one talks to the board, which may take for ever where rank 0, which keeps it, has
// stopped; the other notices that.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "lamp/processes/board.h"
#include "lamp/processes/world_failed.h"

namespace lamp {

struct WatchOptions {
  int rank = 0;
  int world = 1;
  double silent_s = 120;
  bool board_is_rank_0 = true;  // else the launcher keeps it
  std::string board_place;      // "node1:29500"
  // Called once, from a thread of the watch or of whoever reports; not after leave().
  std::function<void(const FailureCause&)> on_failure;
};

// Thread-safe. The texts that the board needs are there when every process has called
// first_beat().
class Watch {
 public:
  static void first_beat(Board& board, int rank);

  Watch(WatchOptions options, std::shared_ptr<Board> board);
  ~Watch();
  Watch(const Watch&) = delete;
  Watch& operator=(const Watch&) = delete;

  // This process goes on no more. Returns the cause that counts: the first of all processes.
  FailureCause fail(const FailureCause& own);
  // The connection to `rank` has broken. was_waited_for: there was a message to come; else it may
  // have left properly, and then nothing has failed.
  void lost(int rank, bool was_waited_for);
  // Where this process is ("in step 41"), for what others say when it is lost.
  void note_progress(const std::string& where);
  std::optional<FailureCause> cause() const;

  // Ends the watch. Whoever keeps the board waits until all others have left or know the cause.
  void leave();

 private:
  struct State;
  std::shared_ptr<State> state_;  // outlives the watch in a thread that never gets an answer
};

}  // namespace lamp
