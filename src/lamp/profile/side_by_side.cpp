// Threads as a pipeline has them for its stages.
#include "lamp/profile/side_by_side.h"

#include <ATen/Parallel.h>
#include <ATen/ThreadLocalState.h>

#include <exception>
#include <iterator>
#include <latch>
#include <utility>

#include "lamp/pipeline/no_autocast_cache.h"
#include "lamp/sequence/run_context.h"

namespace lamp {

SideBySide::SideBySide(std::vector<StepWork> works, int threads)
    : works_(std::move(works)), threads_(threads) {
  for (std::size_t i = 0; i < works_.size(); ++i) workers_.push_back(std::make_unique<Worker>());
}

StepSeconds SideBySide::time_step(const std::function<void()>& on_link) {
  const int threads_before = at::get_num_threads();
  const at::ThreadLocalState caller;
  std::latch all_are_here(std::ssize(works_));
  std::vector<StepSeconds> seconds(works_.size());
  std::vector<std::exception_ptr> failures(works_.size());
  for (std::size_t i = 0; i < works_.size(); ++i) {
    workers_[i]->start([&, i] {
      all_are_here.arrive_and_wait();
      try {
        const at::ThreadLocalStateGuard guard(caller);
        if (at::get_num_threads() != threads_) at::set_num_threads(threads_);
        const NoAutocastCache no_cache;
        RunContext context;  // so that dropout leaves torch's generator alone
        const RunScope scope(context);
        seconds[i] = lamp::time_step(*works_[i].chain, works_[i].input, works_[i].loss,
                                     i == 0 ? on_link : nullptr);
      } catch (...) {
        failures[i] = std::current_exception();
      }
    });
  }
  for (const auto& worker : workers_) worker->wait();
  // Workers set torch's default for threads that are yet to come; that is the caller's.
  at::set_num_threads(threads_before);
  for (const std::exception_ptr& failure : failures)
    if (failure) std::rethrow_exception(failure);
  return mean_of(seconds);
}

}  // namespace lamp
