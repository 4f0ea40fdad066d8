// The watch over a board in memory, which can be lost or stop answering.
#include "lamp/processes/watch.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <condition_variable>
#include <map>
#include <memory>
#include <mutex>
#include <thread>

namespace lamp {
namespace {

using std::chrono::milliseconds;
using ::testing::HasSubstr;

struct Table {
  std::mutex mutex;
  std::condition_variable changed;
  std::map<std::string, std::string> texts;
  bool is_gone = false;
  bool is_stopped = false;
};

class BoardInMemory : public Board {
 public:
  explicit BoardInMemory(std::shared_ptr<Table> table) : table_(std::move(table)) {}
  void set(const std::string& key, const std::string& value) override {
    const auto lock = opened();
    table_->texts[key] = value;
  }
  std::optional<std::string> get(const std::string& key) override {
    const auto lock = opened();
    const auto found = table_->texts.find(key);
    return found == table_->texts.end() ? std::nullopt : std::optional(found->second);
  }
  std::vector<std::string> get_all(const std::vector<std::string>& keys) override {
    const auto lock = opened();
    std::vector<std::string> texts;
    for (const std::string& key : keys) texts.push_back(table_->texts.at(key));
    return texts;
  }
  std::string set_once(const std::string& key, const std::string& value) override {
    const auto lock = opened();
    return table_->texts.emplace(key, value).first->second;
  }

 private:
  std::unique_lock<std::mutex> opened() {
    std::unique_lock lock(table_->mutex);
    table_->changed.wait(lock, [&] { return !table_->is_stopped || table_->is_gone; });
    if (table_->is_gone) throw std::runtime_error("gone");
    return lock;
  }
  std::shared_ptr<Table> table_;
};

class WatchTest : public ::testing::Test {
 protected:
  ~WatchTest() override {
    change([](Table& table) { table.is_stopped = false; });
  }

  template <typename Change>
  void change(Change change) {
    const std::lock_guard lock(table_->mutex);
    change(*table_);
    table_->changed.notify_all();
  }
  std::unique_ptr<Watch> watch_of(int rank, int world, double silent_s = 0.6) {
    BoardInMemory board(table_);
    for (int other = 0; other < world; ++other)
      if (!table_->texts.contains("beat/" + std::to_string(other))) Watch::first_beat(board, other);
    return std::make_unique<Watch>(WatchOptions{.rank = rank,
                                                .world = world,
                                                .silent_s = silent_s,
                                                .board_is_rank_0 = board_is_rank_0_,
                                                .board_place = "node1:29500"},
                                   std::make_shared<BoardInMemory>(table_));
  }
  // Waits for it, 10 s at most.
  static std::string cause_of(const Watch& watch) {
    for (int i = 0; i < 1000 && !watch.cause(); ++i) std::this_thread::sleep_for(milliseconds(10));
    const auto cause = watch.cause();
    if (!cause) return "nothing";
    return std::to_string(cause->rank) + " (" + std::to_string(cause->exit_code) +
           "): " + cause->what;
  }

  std::shared_ptr<Table> table_ = std::make_shared<Table>();
  bool board_is_rank_0_ = true;
};

TEST_F(WatchTest, TheFirstCauseIsEverybodys) {
  const auto first = watch_of(0, 3), second = watch_of(1, 3), third = watch_of(2, 3);
  EXPECT_EQ(second->fail({1, 5, "disk full"}).what, "disk full");
  const FailureCause known = third->fail({2, 3, "something else"});
  EXPECT_EQ(known.rank, 1);
  EXPECT_EQ(known.exit_code, 5);
  for (const Watch* watch : {first.get(), second.get(), third.get()})
    EXPECT_EQ(cause_of(*watch), "1 (5): disk full");
}

TEST_F(WatchTest, WhoGivesNoSignOfLifeIsLost) {
  const auto first = watch_of(0, 3), second = watch_of(1, 3);
  change([](Table& table) { table.texts["beat/2"] = "4 in step 41"; });
  const std::string expected =
      "2 (1): silent for 0.6 s in step 41 (stopped, or its network is cut)";
  EXPECT_EQ(cause_of(*first), expected);
  EXPECT_EQ(cause_of(*second), expected);
}

TEST_F(WatchTest, WhoComputesForLongIsNotLost) {
  const auto first = watch_of(0, 2), second = watch_of(1, 2);
  std::this_thread::sleep_for(milliseconds(1500));
  EXPECT_FALSE(first->cause());
  EXPECT_FALSE(second->cause());
}

TEST_F(WatchTest, ALostBoardIsALostRank0) {
  const auto watch = watch_of(1, 2);
  change([](Table& table) { table.is_gone = true; });
  EXPECT_EQ(cause_of(*watch), "0 (1): lost (its process or its machine has ended)");
}

TEST_F(WatchTest, ABoardThatDoesNotAnswerIsASilentRank0) {
  const auto watch = watch_of(1, 2);
  std::this_thread::sleep_for(milliseconds(150));
  change([](Table& table) { table.is_stopped = true; });
  EXPECT_THAT(cause_of(*watch), HasSubstr("0 (1): silent for 0.6 s"));
}

TEST_F(WatchTest, TheLaunchersStoreIsNamed) {
  board_is_rank_0_ = false;
  const auto watch = watch_of(1, 2);
  change([](Table& table) { table.is_gone = true; });
  EXPECT_THAT(cause_of(*watch), HasSubstr("its launcher's store at node1:29500 lost"));
}

TEST_F(WatchTest, ABrokenConnectionNamesTheProcessAndWhereItWas) {
  const auto first = watch_of(0, 3), second = watch_of(1, 3);
  change([](Table& table) { table.texts["beat/2"] = "1 in step 7"; });
  std::this_thread::sleep_for(milliseconds(300));
  second->lost(2, true);
  EXPECT_EQ(cause_of(*first), "2 (1): lost in step 7 (its process or its machine has ended)");
}

TEST_F(WatchTest, WhoHasLeftIsMissedOnlyWhereItIsWaitedFor) {
  auto first = watch_of(0, 3), second = watch_of(1, 3), third = watch_of(2, 3);
  third->leave();
  second->lost(2, false);
  EXPECT_FALSE(second->cause());
  second->lost(2, true);
  EXPECT_EQ(cause_of(*first), "2 (1): left the run while rank 1 waited for it");
}

TEST_F(WatchTest, TheKeeperOfTheBoardLeavesLast) {
  auto first = watch_of(0, 2), second = watch_of(1, 2);
  std::atomic<bool> has_left = false;
  std::thread leaving([&] {
    first->leave();
    has_left = true;
  });
  std::this_thread::sleep_for(milliseconds(900));  // longer than silent_s: that is no failure
  EXPECT_FALSE(has_left);
  EXPECT_FALSE(second->cause());
  second->leave();
  leaving.join();
  EXPECT_FALSE(first->cause());
}

TEST(FailureCauseTest, ItsTextComesBack) {
  const FailureCause back = cause_from(cause_text({12, 5, "disk full: 3 files"}));
  EXPECT_EQ(back.rank, 12);
  EXPECT_EQ(back.exit_code, 5);
  EXPECT_EQ(back.what, "disk full: 3 files");
  for (const std::string strange : {"", "x", "1 2", "a b c", "99999999999 1 c"})
    EXPECT_EQ(cause_from(strange).exit_code, kExitRuntime) << strange;
}

}  // namespace
}  // namespace lamp
