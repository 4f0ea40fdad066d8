#include "lamp/data/prefetcher.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <stdexcept>
#include <thread>

namespace lamp {
namespace {

TEST(PrefetcherTest, HandsItemsOverInOrderOnAnyNumberOfThreads) {
  for (const int threads : {1, 2, 5}) {
    Prefetcher<std::int64_t> items(
        {.first = 3, .last = 60, .threads = threads, .ahead = 4}, [](std::int64_t i) {
          std::this_thread::sleep_for(std::chrono::microseconds(i * 7919 % 300));
          return i * i;
        });
    for (std::int64_t i = 3; i < 60; ++i) ASSERT_EQ(items.next(), i * i);
    EXPECT_EQ(items.next(), std::nullopt);
  }
}

TEST(PrefetcherTest, StaysABoundedNumberOfItemsAhead) {
  std::atomic<std::int64_t> made{0};
  Prefetcher<int> items({.last = 100, .threads = 4, .ahead = 3},
                        [&](std::int64_t) { return static_cast<int>(++made); });
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  EXPECT_LE(made.load(), 4);
  items.next();
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  EXPECT_LE(made.load(), 5);
}

TEST(PrefetcherTest, ThrowsWhereTheFailedItemWouldHaveCome) {
  Prefetcher<int> items({.last = 5, .threads = 2}, [](std::int64_t i) {
    if (i == 2) throw std::runtime_error("third");
    return static_cast<int>(i);
  });
  EXPECT_EQ(items.next(), 0);
  EXPECT_EQ(items.next(), 1);
  EXPECT_THROW(items.next(), std::runtime_error);
  EXPECT_EQ(items.next(), 3);
}

TEST(PrefetcherTest, CanBeLeftBeforeTheEnd) {
  for (int round = 0; round < 20; ++round) {
    Prefetcher<int> items({.last = 1000, .threads = 3},
                          [](std::int64_t i) { return static_cast<int>(i); });
    items.next();
  }
}

}  // namespace
}  // namespace lamp
