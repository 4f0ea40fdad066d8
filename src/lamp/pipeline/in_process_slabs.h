// Slabs whose workers are threads of one process.
#pragma once

#include <c10/core/Device.h>
#include <torch/types.h>

#include <condition_variable>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "lamp/pipeline/sent_tensor.h"
#include "lamp/sequence/slab_group.h"

namespace lamp {

// Where the slabs of one volume meet. Nothing is copied on the CPU: each reads the others' tensors.
// Thread-safe.
class SlabMeeting {
 public:
  explicit SlabMeeting(int slabs) : slabs_(slabs) {}

  // One exchange of a step: of which micro-batch, and which of its exchanges, counted from 0.
  using Number = std::pair<int, std::int64_t>;

  // Waits until every slab has come to this exchange, then returns what they brought for `rank`.
  // Throws Cancelled.
  std::vector<SentTensor> exchange(const Number& number, int rank,
                                   std::vector<SentTensor> outgoing);
  // Lets every wait end; until reset() all further ones end at once.
  void cancel();
  // Only while no slab is at work.
  void reset();

 private:
  struct Round {
    std::vector<std::vector<SentTensor>> brought;  // by sender, then by receiver
    int came = 0;
    int left = 0;
  };
  const int slabs_;
  std::mutex mutex_;
  std::condition_variable changed_;
  // Guarded by mutex_:
  std::map<Number, Round> rounds_;
  bool cancelled_ = false;
};

class InProcessSlabs : public SlabGroup {
 public:
  // Made anew for each micro-batch of a step.
  InProcessSlabs(std::shared_ptr<SlabMeeting> meeting, int microbatch, int rank, SlabCut cut,
                 c10::Device device)
      : SlabGroup(rank, std::move(cut)),
        meeting_(std::move(meeting)),
        microbatch_(microbatch),
        device_(device) {}
  std::vector<torch::Tensor> all_to_all(std::vector<torch::Tensor> outgoing) override;

 private:
  std::shared_ptr<SlabMeeting> meeting_;
  int microbatch_;
  c10::Device device_;
  std::int64_t exchanges_ = 0;
};

}  // namespace lamp
