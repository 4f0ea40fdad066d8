// A thread a stage, a door before each.
#include "lamp/pipeline/prediction_stream.h"

#include <torch/utils.h>

#include <algorithm>
#include <string>
#include <utility>

#include "lamp/base/device.h"
#include "lamp/base/interrupt.h"
#include "lamp/pipeline/stage_threads.h"

namespace lamp {
namespace {

// A skip goes straight to the device of whoever pops it.
class ArrivingSkips : public SkipPort {
 public:
  ArrivingSkips(LocalSkips& skips, c10::Device device) : skips_(skips), device_(device) {}
  void stash(const std::string& name, torch::Tensor tensor) override {
    skips_.stash(name, std::move(tensor));
  }
  torch::Tensor pop(const std::string& name) override { return skips_.pop(name).to(device_); }

 private:
  LocalSkips& skips_;
  c10::Device device_;
};

int threads_of_stage(const StreamOptions& options) {
  if (options.threads_per_stage > 0) return options.threads_per_stage;
  const std::vector<std::string> devices = device_names(options.devices);
  // Crowded stages of a step take turns with all threads; here each has an input at work.
  if (is_crowded(devices, at::get_num_threads())) return 1;
  return stage_threads(devices, at::get_num_threads());
}

}  // namespace

void PredictionStream::Door::put(std::unique_ptr<Request> request) {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return waiting_ == nullptr; });
  waiting_ = std::move(request);
  changed_.notify_all();
}

std::unique_ptr<PredictionStream::Request> PredictionStream::Door::take() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return waiting_ != nullptr || closed_; });
  changed_.notify_all();
  return std::move(waiting_);
}

void PredictionStream::Door::close() {
  const std::lock_guard lock(mutex_);
  closed_ = true;
  changed_.notify_all();
}

PredictionStream::PredictionStream(std::shared_ptr<Sequence> chain, const StreamOptions& options)
    : chain_(std::move(chain)), options_(options), doors_(options.devices.size()) {
  check_partition(options_.partition, chain_->size(), options_.devices.size());
  for (std::size_t j = 0; j < stages(); ++j)
    for (std::size_t l = options_.partition[j].first; l < options_.partition[j].last; ++l)
      chain_->layers()[l]->to(options_.devices[j]);
  const int all_threads = at::get_num_threads();
  const int threads = threads_of_stage(options_);
  for (std::size_t j = 0; j < stages(); ++j) {
    std::promise<void> ready;
    std::future<void> is_ready = ready.get_future();
    threads_.emplace_back(&PredictionStream::work, this, j, std::move(ready), threads);
    is_ready.wait();
  }
  // Each worker has set torch's default for threads that are yet to come; that is the caller's.
  at::set_num_threads(all_threads);
}

PredictionStream::~PredictionStream() {
  for (std::size_t j = 0; j < stages(); ++j) {
    doors_[j].close();  // what is inside still goes on to the next
    threads_[j].join();
  }
}

std::future<torch::Tensor> PredictionStream::submit(torch::Tensor input) {
  TORCH_CHECK(input.defined() && input.dim() > 0 && input.size(0) > 0,
              "a prediction needs an input [N, ...] of at least one sample");
  auto request = std::make_unique<Request>();
  request->tensor = std::move(input);
  std::future<torch::Tensor> result = request->result.get_future();
  doors_.front().put(std::move(request));
  return result;
}

void PredictionStream::work(std::size_t stage, std::promise<void> ready, int threads) {
  at::set_num_threads(threads);
  ready.set_value();
  while (std::unique_ptr<Request> request = doors_[stage].take()) {
    try {
      run(stage, *request);
    } catch (...) {
      *request = {.tensor = {}, .skips = {}, .result = std::move(request->result)};
      request->result.set_exception(std::current_exception());
      continue;
    }
    if (stage + 1 == stages())
      request->result.set_value(std::move(request->tensor));
    else
      doors_[stage + 1].put(std::move(request));
  }
}

void PredictionStream::run(std::size_t stage, Request& request) {
  const torch::InferenceMode no_gradients;
  const StageRange links = options_.partition[stage];
  const c10::Device device = options_.devices[stage];
  ArrivingSkips skips(request.skips, device);
  request.tensor = request.tensor.to(device);
  for (std::size_t link = links.first; link < links.last; ++link) {
    throw_if_interrupted("the case in work is not written");
    try {
      request.tensor = chain_->run(std::move(request.tensor), link, link + 1, skips);
    } catch (c10::Error& error) {
      error.add_context("in stage " + std::to_string(stage) + " on " + device.str());
      throw;
    }
  }
}

}  // namespace lamp
