// Rounds over the board, and a clock beside them.
#include "lamp/processes/watch.h"

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <exception>
#include <mutex>
#include <thread>
#include <utility>

#include "lamp/base/text.h"
#include "lamp/processes/running_time.h"

namespace lamp {
namespace {

using Clock = std::chrono::steady_clock;
using Seconds = std::chrono::duration<double>;

constexpr double kRound = 0.1;     // between two looks at the cause
constexpr double kBeat = 1;        // between two signs of life
constexpr double kDecision = 2;    // the longest wait for the board's word on a cause
constexpr double kFarewell = 2;    // the longest wait until all others know the cause
constexpr double kLastWord = 0.5;  // the longest wait for the board at the end, after a failure
constexpr double kLeaving = 5;     // and without one
constexpr const char* kCauseKey = "cause";
constexpr const char* kLeft = "left";

std::string beat_key(int rank) { return "beat/" + std::to_string(rank); }

}  // namespace

struct Watch::State {
  struct Claim {
    FailureCause cause;
    bool is_of_connection = false;
    bool was_waited_for = true;
    bool is_done = false;
  };

  struct SeenBeat {
    std::string text;
    double since = 0;  // running time
  };

  State(WatchOptions of, std::shared_ptr<Board> on)
      : options(std::move(of)),
        board(std::move(on)),
        beats(static_cast<std::size_t>(options.world)) {
    for (int rank = 0; rank < options.world; ++rank) beat_keys.push_back(beat_key(rank));
  }

  // Of the thread that talks to the board.
  void run_rounds();
  void round();
  void settle_claims();
  std::optional<FailureCause> latest(const Claim& claim);
  static std::string place_in(const std::string& beat);
  void beat();
  void look_at_beats();
  bool others_have_left();
  void say_farewell();
  void lose_board();
  bool is_over() const;
  bool has_failed() const;
  bool has_moved() const;
  void pause(double seconds);

  // Of any thread.
  void run_clock();
  void decide(const FailureCause& cause);
  void settle(Claim made);
  // Need `mutex`:
  FailureCause gone(int rank) const;
  FailureCause silent(int rank) const;
  FailureCause of_board(FailureCause of_rank_0) const;

  const WatchOptions options;
  const std::shared_ptr<Board> board;
  std::vector<std::string> beat_keys;

  // Of the thread that talks to the board alone:
  std::vector<SeenBeat> beats;
  std::int64_t beat_number = 0;
  double next_beat = 0;
  std::string told;  // in the last beat
  RunningTime time;

  mutable std::mutex mutex;
  std::condition_variable changed;
  // Guarded by mutex:
  std::optional<FailureCause> cause;
  std::deque<std::shared_ptr<Claim>> claims;
  std::vector<std::string> places;  // by rank, of the beats: "" or " in step 41"
  std::string where;
  std::int64_t rounds = 0;
  bool is_leaving = false;
  bool is_abandoned = false;
  bool rounds_have_ended = false;

  std::mutex reporting;  // held while on_failure runs; taken before `mutex`

  std::thread rounds_thread, clock_thread;
};

FailureCause Watch::State::gone(int rank) const {
  return {
      rank, kExitRuntime,
      "lost" + places[static_cast<std::size_t>(rank)] + " (its process or its machine has ended)"};
}

FailureCause Watch::State::silent(int rank) const {
  return {rank, kExitRuntime,
          "silent for " + shortest(options.silent_s) + " s" +
              places[static_cast<std::size_t>(rank)] + " (stopped, or its network is cut)"};
}

FailureCause Watch::State::of_board(FailureCause of_rank_0) const {
  if (!options.board_is_rank_0)
    of_rank_0.what = "its launcher's store at " + options.board_place + " " + of_rank_0.what;
  return of_rank_0;
}

// The first one counts.
void Watch::State::decide(const FailureCause& found) {
  const std::lock_guard report(reporting);
  {
    const std::lock_guard lock(mutex);
    if (cause || is_abandoned) return;
    cause = found;
    changed.notify_all();
  }
  if (options.on_failure) options.on_failure(found);
}

// Waits for the board's word.
void Watch::State::settle(Claim made) {
  const auto entry = std::make_shared<Claim>(std::move(made));
  std::unique_lock lock(mutex);
  if (cause || rounds_have_ended) return;
  claims.push_back(entry);
  changed.notify_all();
  changed.wait_for(lock, Seconds(kDecision),
                   [&] { return cause || entry->is_done || rounds_have_ended; });
}

void Watch::State::pause(double seconds) {
  std::unique_lock lock(mutex);
  changed.wait_for(lock, Seconds(seconds), [&] { return cause || is_leaving || !claims.empty(); });
}

// Of a beat: "" or " in step 41".
std::string Watch::State::place_in(const std::string& beat) {
  const std::size_t space = beat.find(' ');
  return space == std::string::npos ? "" : beat.substr(space);
}

// As the board says it now, if the claim is of a process that has gone. Nothing where it has left
// properly and nobody minds.
std::optional<FailureCause> Watch::State::latest(const Claim& claim) {
  if (!claim.is_of_connection) return claim.cause;
  const int rank = claim.cause.rank;
  const std::string beat = board->get(beat_key(rank)).value_or("");
  if (beat == kLeft && !claim.was_waited_for) return std::nullopt;
  if (beat == kLeft)
    return FailureCause{
        rank, kExitRuntime,
        "left the run while rank " + std::to_string(options.rank) + " waited for it"};
  const std::lock_guard lock(mutex);
  places[static_cast<std::size_t>(rank)] = place_in(beat);
  return gone(rank);
}

// What was found here counts only if no other process was quicker.
void Watch::State::settle_claims() {
  while (true) {
    std::shared_ptr<Claim> next;
    {
      const std::lock_guard lock(mutex);
      if (claims.empty() || cause) return;
      next = claims.front();
    }
    if (const auto own = latest(*next))
      decide(cause_from(board->set_once(kCauseKey, cause_text(*own))));
    const std::lock_guard lock(mutex);
    next->is_done = true;
    claims.pop_front();
    changed.notify_all();
  }
}

void Watch::State::beat() {
  {
    const std::lock_guard lock(mutex);
    told = where;
  }
  const std::string place = told.empty() ? "" : " " + told;
  board->set(beat_key(options.rank), std::to_string(++beat_number) + place);
}

void Watch::State::look_at_beats() {
  const std::vector<std::string> texts = board->get_all(beat_keys);
  const std::lock_guard lock(mutex);
  for (std::size_t rank = 0; rank < beats.size(); ++rank) {
    if (texts[rank] != beats[rank].text) {
      beats[rank] = {texts[rank], time.seconds()};
      if (texts[rank] != kLeft) places[rank] = place_in(texts[rank]);
    }
    const bool counts = texts[rank] != kLeft && static_cast<int>(rank) != options.rank;
    if (!counts || time.seconds() - beats[rank].since <= options.silent_s) continue;
    claims.push_back(std::make_shared<Claim>(Claim{.cause = silent(static_cast<int>(rank))}));
    return;
  }
}

void Watch::State::round() {
  time.tick();
  settle_claims();
  if (const auto found = board->get(kCauseKey)) decide(cause_from(*found));
  if (time.seconds() >= next_beat) {
    next_beat = time.seconds() + std::min(kBeat, options.silent_s / 6);
    beat();
    look_at_beats();
  }
  if (has_moved()) beat();
  const std::lock_guard lock(mutex);
  ++rounds;
}

bool Watch::State::has_moved() const {
  const std::lock_guard lock(mutex);
  return where != told;
}

bool Watch::State::has_failed() const {
  const std::lock_guard lock(mutex);
  return cause.has_value();
}

bool Watch::State::is_over() const {
  const std::lock_guard lock(mutex);
  return cause || is_leaving;
}

// Of the one that failed nobody knows whether it still reads.
bool Watch::State::others_have_left() {
  const std::vector<std::string> texts = board->get_all(beat_keys);
  const std::lock_guard lock(mutex);
  for (std::size_t rank = 0; rank < texts.size(); ++rank) {
    const bool is_other = static_cast<int>(rank) != options.rank;
    const bool has_failed = cause && cause->rank == static_cast<int>(rank);
    if (is_other && !has_failed && texts[rank] != kLeft) return false;
  }
  return true;
}

// The board goes with the process that keeps it, so that one goes last.
void Watch::State::say_farewell() {
  board->set(beat_key(options.rank), kLeft);
  board->get(beat_key(options.rank));  // set() has no answer: now it has been heard
  if (!options.board_is_rank_0 || options.rank != 0) return;
  RunningTime since_failure;
  double wait = kRound / 50;
  while (!others_have_left()) {
    if (has_failed()) {
      since_failure.tick();
      if (since_failure.seconds() > kFarewell) return;
    } else {
      since_failure = RunningTime();
      time.tick();
      settle_claims();
      if (const auto found = board->get(kCauseKey)) decide(cause_from(*found));
      look_at_beats();
    }
    std::this_thread::sleep_for(Seconds(wait));
    wait = std::min(kRound, wait * 1.2);
  }
}

// Without a board what this process has found itself counts.
void Watch::State::lose_board() {
  FailureCause found;
  {
    const std::lock_guard lock(mutex);
    if (cause || is_leaving) return;
    found = of_board(gone(0));
    for (const auto& claim : claims)
      if (!claim->is_of_connection) found = claim->cause;
  }
  decide(found);
}

void Watch::State::run_rounds() {
  try {
    while (!is_over()) {
      round();
      pause(kRound);
    }
    say_farewell();
  } catch (const std::exception&) {
    lose_board();
  }
  const std::lock_guard lock(mutex);
  rounds_have_ended = true;
  changed.notify_all();
}

void Watch::State::run_clock() {
  RunningTime time_without_answer;
  std::int64_t last = -1;
  std::unique_lock lock(mutex);
  while (!rounds_have_ended && !is_abandoned) {
    changed.wait_for(lock, Seconds(kRound), [&] { return rounds_have_ended || is_abandoned; });
    if (rounds != last || is_leaving) time_without_answer = RunningTime();
    last = rounds;
    time_without_answer.tick();
    if (time_without_answer.seconds() <= options.silent_s || cause) continue;
    const FailureCause found = of_board(silent(0));
    lock.unlock();
    decide(found);
    lock.lock();
  }
}

void Watch::first_beat(Board& board, int rank) { board.set(beat_key(rank), "0"); }

Watch::Watch(WatchOptions options, std::shared_ptr<Board> board)
    : state_(std::make_shared<State>(std::move(options), std::move(board))) {
  state_->places.resize(static_cast<std::size_t>(state_->options.world));
  state_->rounds_thread = std::thread([state = state_] { state->run_rounds(); });
  state_->clock_thread = std::thread([state = state_] { state->run_clock(); });
}

Watch::~Watch() { leave(); }

FailureCause Watch::fail(const FailureCause& own) {
  state_->settle({.cause = own});
  state_->decide(own);  // where the board had nothing to say
  return cause().value_or(own);
}

void Watch::lost(int rank, bool was_waited_for) {
  FailureCause found;
  {
    const std::lock_guard lock(state_->mutex);
    found = state_->gone(rank);
  }
  state_->settle({.cause = found, .is_of_connection = true, .was_waited_for = was_waited_for});
  if (was_waited_for) state_->decide(found);
}

void Watch::note_progress(const std::string& where) {
  const std::lock_guard lock(state_->mutex);
  state_->where = where;
}

std::optional<FailureCause> Watch::cause() const {
  const std::lock_guard lock(state_->mutex);
  return state_->cause;
}

void Watch::leave() {
  State& state = *state_;
  if (!state.rounds_thread.joinable()) return;
  std::unique_lock lock(state.mutex);
  state.is_leaving = true;
  state.changed.notify_all();
  const auto has_ended = [&] { return state.rounds_have_ended; };
  const bool keeps_board = state.options.board_is_rank_0 && state.options.rank == 0;
  if (keeps_board) state.changed.wait(lock, [&] { return state.rounds_have_ended || state.cause; });
  double patience = kLeaving;
  if (state.cause) patience = kLastWord + (keeps_board ? kFarewell : 0);
  const bool ended = state.changed.wait_for(lock, Seconds(patience), has_ended);
  lock.unlock();
  if (ended) {
    state.rounds_thread.join();
  } else {
    const std::lock_guard report(state.reporting);
    lock.lock();
    state.is_abandoned = true;
    lock.unlock();
    state.rounds_thread.detach();  // it waits for an answer; what it holds stays with it
  }
  state.clock_thread.join();
}

}  // namespace lamp
