#include "lamp/base/each_case.h"

#include <gtest/gtest.h>

#include <atomic>
#include <csignal>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "lamp/base/errors.h"
#include "support/signals.h"

namespace lamp {
namespace {

TEST(EachCaseTest, WorksOnEveryCaseOnceOnAnyThreads) {
  for (const int threads : {0, 1, 2, 5}) {
    std::vector<std::atomic<int>> calls(40);
    for_each_case({.cases = calls.size(), .own_threads = threads}, [&](std::size_t i) {
      ++calls[i];
      return std::string();
    });
    for (const auto& count : calls) EXPECT_EQ(count, 1);
  }
}

TEST(EachCaseTest, NoCaseIsNoWork) {
  for (const int threads : {0, 2})
    EXPECT_NO_THROW(for_each_case({.own_threads = threads}, [](std::size_t) -> std::string {
      throw std::runtime_error("a case");
    }));
}

TEST(EachCaseTest, TheFirstCasesErrorIsThrownWhicheverFailedFirst) {
  std::atomic<bool> second_failed = false;
  const auto work = [&](std::size_t i) -> std::string {
    if (i == 1) second_failed = true;
    while (i == 0 && !second_failed) std::this_thread::yield();
    throw std::runtime_error("case " + std::to_string(i));
  };
  try {
    for_each_case({.cases = 2, .own_threads = 2}, work);
    ADD_FAILURE() << "nothing was thrown";
  } catch (const std::runtime_error& error) {
    EXPECT_STREQ(error.what(), "case 0");
  }
}

TEST(EachCaseTest, AfterAnErrorNoFurtherCaseIsBegun) {
  std::size_t begun = 0;
  const auto work = [&](std::size_t i) -> std::string {
    ++begun;
    if (i == 3) throw std::runtime_error("the fourth");
    return "";
  };
  EXPECT_THROW(for_each_case({.cases = 10, .own_threads = 1}, work), std::runtime_error);
  EXPECT_EQ(begun, 4U);
}

TEST(EachCaseTest, AfterASignalNoFurtherCaseIsBegun) {
  std::size_t begun = 0;
  testing::forget_signals();
  const auto work = [&](std::size_t i) {
    ++begun;
    if (i == 3) testing::send_signal(SIGTERM);
    return std::string();
  };
  EXPECT_THROW(for_each_case({.cases = 10, .own_threads = 1}, work), Interrupted);
  EXPECT_EQ(begun, 4U);
  testing::forget_signals();
}

TEST(EachCaseTest, AnEarlierSignalIsTheCallersUnlessItIsHeeded) {
  std::size_t begun = 0;
  testing::send_signal(SIGTERM);
  const auto work = [&](std::size_t) {
    ++begun;
    return std::string();
  };
  EXPECT_NO_THROW(for_each_case({.cases = 10, .own_threads = 1}, work));
  EXPECT_EQ(begun, 10U);
  EXPECT_THROW(for_each_case({.cases = 10, .own_threads = 1, .earlier_signal = 0}, work),
               Interrupted);
  EXPECT_EQ(begun, 10U);
  testing::forget_signals();
}

}  // namespace
}  // namespace lamp
