// Inputs through a network that lies on several devices, without gradients: while one volume is in
// a late stage, the next is in an early one. Unlike a training step it has no end and no schedule,
// and inputs have nothing to do with each other: they come from any thread, have sizes of their
// own, and one that fails takes no other with it.
//
//   PredictionStream stream(chain, {.devices = {gpu0, gpu1}, .partition = partition});
//   std::vector<std::future<torch::Tensor>> scores;
//   for (const torch::Tensor& volume : volumes) scores.push_back(stream.submit(volume));
#pragma once

#include <c10/core/Device.h>
#include <torch/types.h>

#include <condition_variable>
#include <future>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "lamp/pipeline/partition.h"
#include "lamp/sequence/sequence.h"

namespace lamp {

struct StreamOptions {
  std::vector<c10::Device> devices;  // one a stage; the same one may come twice
  Partition partition;               // one range a stage
  int threads_per_stage = 0;         // of CPU stages; 0 = this process's threads shared out
};

// Thread-safe. The chain, in evaluation mode, belongs to the stream while it lives.
class PredictionStream {
 public:
  // Moves every stage's layers to its device. Throws UsageError if the partition does not fit.
  PredictionStream(std::shared_ptr<Sequence> chain, const StreamOptions& options);
  // Waits for everything that was submitted.
  ~PredictionStream();
  PredictionStream(const PredictionStream&) = delete;
  PredictionStream& operator=(const PredictionStream&) = delete;

  // [N, ...] on any device -> the chain's output on the last stage's device, or what a layer threw,
  // with the stage named. At most one input waits before each stage; others wait here, so that
  // activations do not pile up before a slow stage. Between two links a caught signal ends it
  // (Interrupted).
  std::future<torch::Tensor> submit(torch::Tensor input);

  std::size_t stages() const { return options_.devices.size(); }

 private:
  struct Request {
    torch::Tensor tensor;
    LocalSkips skips;  // on the devices of the stages that stashed them, until popped
    std::promise<torch::Tensor> result;
  };
  // Between two neighbours: room for one.
  class Door {
   public:
    void put(std::unique_ptr<Request> request);
    std::unique_ptr<Request> take();  // null once closed and empty
    void close();

   private:
    std::mutex mutex_;
    std::condition_variable changed_;
    // Guarded by mutex_:
    std::unique_ptr<Request> waiting_;
    bool closed_ = false;
  };

  void work(std::size_t stage, std::promise<void> ready, int threads);
  void run(std::size_t stage, Request& request);

  std::shared_ptr<Sequence> chain_;
  StreamOptions options_;
  std::vector<Door> doors_;  // before each stage
  std::vector<std::thread> threads_;
};

}  // namespace lamp
