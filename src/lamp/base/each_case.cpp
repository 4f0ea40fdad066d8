// Two ways of having threads, one way of sharing the cases among them.
#include "lamp/base/each_case.h"

#include <ATen/Parallel.h>
#include <omp.h>

#include <algorithm>
#include <atomic>
#include <exception>
#include <future>
#include <mutex>
#include <vector>

#include "lamp/base/progress.h"

namespace lamp {
namespace {

void run_on_torch_threads(const std::function<void()>& work) {
  at::parallel_for(0, at::get_num_threads(), 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t thread = begin; thread < end; ++thread) work();
  });
}

void run_on_own_threads(std::size_t threads, const std::function<void()>& work) {
  std::vector<std::future<void>> started;
  for (std::size_t t = 0; t < threads; ++t)
    started.push_back(std::async(std::launch::async, [&work] {
      omp_set_num_threads(1);
      work();
    }));
  for (auto& thread : started) thread.get();
}

}  // namespace

void for_each_case(const CaseLoop& loop, const std::function<std::string(std::size_t)>& work) {
  const auto interrupted = [&loop] { return caught_signal() != loop.earlier_signal; };
  std::atomic<std::size_t> next = 0;
  std::mutex mutex;  // guards all below
  Progress progress(loop.title, static_cast<std::int64_t>(loop.cases));
  std::size_t failed = loop.cases;
  std::exception_ptr error;
  const auto take_cases = [&] {
    for (std::size_t i = next++; i < loop.cases && !interrupted(); i = next++) {
      try {
        const std::string note = work(i);
        const std::lock_guard lock(mutex);
        progress.advance(note);
      } catch (...) {
        const std::lock_guard lock(mutex);
        next = loop.cases;  // the cases before this one are all taken
        if (i > failed) continue;
        failed = i;
        error = std::current_exception();
      }
    }
  };
  if (loop.own_threads > 0)
    run_on_own_threads(std::min(static_cast<std::size_t>(loop.own_threads), loop.cases),
                       take_cases);
  else
    run_on_torch_threads(take_cases);
  if (interrupted()) throw_if_interrupted(loop.when_interrupted);
  if (error) std::rethrow_exception(error);
}

}  // namespace lamp
