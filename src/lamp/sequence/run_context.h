// What whoever runs a chain tells the layers on this thread: which step and micro-batch this is, so
// that random masks can be drawn again, and where batch statistics and weight gradients shall go. A
// layer that needs none of it never looks.
#pragma once

#include <c10/core/StorageImpl.h>
#include <torch/types.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

namespace lamp {

// Statistics of one batch norm over one micro-batch, before they are merged (batch_norm.h).
struct NormStatistics {
  void* norm;               // whose they are
  std::int64_t count;       // values a channel
  torch::Tensor mean;       // [C]
  torch::Tensor deviation;  // [C], sum of squared deviations from the mean
};

// Weight gradients that a backward pass has put off: run in order, each once. Not thread-safe.
using WeightTasks = std::vector<std::function<void()>>;

class SlabGroup;

struct RunContext {
  std::uint64_t seed = 0;
  std::int64_t step = 0;
  int microbatch = 0;
  // There will be a backward pass, even if this forward pass is without gradients because it will
  // be run again.
  bool training = false;
  // Where batch norms leave their statistics; null = they update their running ones themselves.
  std::vector<NormStatistics>* statistics = nullptr;
  // The slabs of a volume of which this thread holds one (slab_group.h); null = the whole is here.
  std::shared_ptr<SlabGroup> slabs;
  // Planes along the cut axis of the whole tensor of which the running layer holds a slab; kept by
  // Sequence::run and by layers that change it.
  std::int64_t planes = 0;
  // Where convolutions leave their weight gradients; null = the backward pass computes them.
  std::shared_ptr<WeightTasks> weight_tasks;
  // Where results that are only shapes (shape_result.h) are noted; null = nowhere.
  std::vector<c10::weak_intrusive_ptr<c10::StorageImpl>>* shape_results = nullptr;

  // Kept by Sequence::run.
  std::size_t link = 0;
  std::uint64_t draws = 0;  // random draws of this link so far

  // A generator for the link's next draw, on the CPU: the same for the same (seed, step,
  // micro-batch, link, draw), whatever other threads do.
  at::Generator next_generator();

  // The innermost context of this thread; null outside any RunScope.
  static RunContext* current();
};

// Makes `context` this thread's while it lives. The context must outlive it.
class RunScope {
 public:
  explicit RunScope(RunContext& context);
  ~RunScope();
  RunScope(const RunScope&) = delete;
  RunScope& operator=(const RunScope&) = delete;

 private:
  RunContext* before_;
};

}  // namespace lamp
