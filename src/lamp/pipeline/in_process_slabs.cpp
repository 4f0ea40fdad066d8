// A round for each exchange; it is forgotten when all have taken what is theirs.
#include "lamp/pipeline/in_process_slabs.h"

#include <utility>

#include "lamp/pipeline/transfer.h"

namespace lamp {

std::vector<SentTensor> SlabMeeting::exchange(const Number& number, int rank,
                                              std::vector<SentTensor> outgoing) {
  std::unique_lock lock(mutex_);
  if (cancelled_) throw Cancelled();
  Round& round = rounds_[number];
  round.brought.resize(static_cast<std::size_t>(slabs_));
  round.brought[static_cast<std::size_t>(rank)] = std::move(outgoing);
  if (++round.came == slabs_) changed_.notify_all();
  changed_.wait(lock, [&] { return cancelled_ || round.came == slabs_; });
  if (cancelled_) throw Cancelled();
  std::vector<SentTensor> incoming;
  for (auto& tensors : round.brought)
    incoming.push_back(std::move(tensors[static_cast<std::size_t>(rank)]));
  if (++round.left == slabs_) rounds_.erase(number);
  return incoming;
}

void SlabMeeting::cancel() {
  const std::lock_guard lock(mutex_);
  cancelled_ = true;
  changed_.notify_all();
}

void SlabMeeting::reset() {
  const std::lock_guard lock(mutex_);
  rounds_.clear();
  cancelled_ = false;
}

std::vector<torch::Tensor> InProcessSlabs::all_to_all(std::vector<torch::Tensor> outgoing) {
  count_sent(outgoing);
  std::vector<SentTensor> sent;
  for (torch::Tensor& tensor : outgoing) sent.emplace_back(std::move(tensor));
  std::vector<torch::Tensor> incoming;
  for (const SentTensor& tensor :
       meeting_->exchange({microbatch_, exchanges_++}, rank(), std::move(sent)))
    incoming.push_back(tensor.on(device_));
  return incoming;
}

}  // namespace lamp
