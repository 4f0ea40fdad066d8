#include "lamp/base/prefetcher.h"

#include <gtest/gtest.h>
#include <pthread.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <stdexcept>
#include <string>
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

TEST(PrefetcherTest, LeftBeforeTheEndItBeginsNoMoreAndWaitsForWhatIsBeingMade) {
  std::atomic<std::int64_t> begun{0}, made{0};
  for (int round = 0; round < 20; ++round) {
    begun = made = 0;
    {
      Prefetcher<int> items({.last = 1000, .threads = 3}, [&](std::int64_t i) {
        ++begun;
        std::this_thread::sleep_for(std::chrono::milliseconds(2));
        ++made;
        return static_cast<int>(i);
      });
      EXPECT_EQ(items.next(), 0);
    }
    EXPECT_EQ(made.load(), begun.load()) << "an item was still being made";
    EXPECT_LE(begun.load(), 4) << "the one returned, the next, and two ahead of it";
  }
}

TEST(PrefetcherTest, ThreadsThatCouldNotHelpAreNotStarted) {
  std::atomic<int> most{0}, now{0};
  Prefetcher<int> items({.last = 200, .threads = 1'000'000, .ahead = 3}, [&](std::int64_t i) {
    const int running = ++now;
    for (int seen = most; seen < running && !most.compare_exchange_weak(seen, running);) {
    }
    std::this_thread::sleep_for(std::chrono::microseconds(100));
    --now;
    return static_cast<int>(i);
  });
  for (int i = 0; i < 200; ++i) ASSERT_EQ(items.next(), i);
  EXPECT_LE(most.load(), 4);
}

// In a process of its own, whose limit on processes and threads is already reached.
TEST(PrefetcherTest, WithoutAnyThreadItIsAnErrorAndNoAbort) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "a sanitizer itself takes more address space than is left here";
#endif
  const pid_t child = fork();
  if (child == 0) {
    // A gigabyte of stack for a thread does not fit into what is left of the address space.
    rlimit stack{std::size_t{1} << 30, RLIM_INFINITY};
    rlimit space{std::size_t{1} << 29, std::size_t{1} << 29};
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, std::size_t{1} << 30);
    pthread_setattr_default_np(&attributes);
    setrlimit(RLIMIT_STACK, &stack);
    setrlimit(RLIMIT_AS, &space);
    try {
      Prefetcher<int> items({.last = 5, .threads = 2}, [](std::int64_t) { return 0; });
    } catch (const Error& error) {
      _exit(std::string(error.what()).find("loader threads") == std::string::npos ? 2 : 0);
    } catch (...) {
      _exit(3);
    }
    _exit(4);
  }
  int status = 0;
  waitpid(child, &status, 0);
  ASSERT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 0);
}

}  // namespace
}  // namespace lamp
