// How tensors travel between stages. The executor sees only this interface, so that stages in other
// processes can come later with another implementation.
#pragma once

#include <torch/types.h>

#include <compare>
#include <condition_variable>
#include <map>
#include <mutex>
#include <string>

#include "lamp/pipeline/sent_tensor.h"

namespace lamp {

enum class Cargo { kActivation, kGradient };

// What travels: a stage's output or a skip (by name), or its gradient on the way back.
struct Route {
  Cargo cargo;
  int from;          // stage
  int to;            // stage
  std::string skip;  // empty = the boundary between two neighbours
  auto operator<=>(const Route&) const = default;
};

struct Packet {
  torch::Tensor tensor;         // without history; undefined = a gradient that is zero
  bool wants_gradient = false;  // the receiver sends a gradient back, or an undefined one
};

// Ends a wait because another stage has failed; never reaches the caller of a pipeline.
class Cancelled : public std::exception {
 public:
  const char* what() const noexcept override { return "another stage has failed"; }
};

// Thread-safe.
class Transfer {
 public:
  virtual ~Transfer() = default;
  virtual void send(const Route& route, int microbatch, Packet packet) = 0;
  // Waits for the packet; its tensor lies on `device`. Throws Cancelled.
  virtual Packet receive(const Route& route, int microbatch, c10::Device device) = 0;
  // Lets every wait end; until reset() all further ones end at once.
  virtual void cancel() = 0;
  // Forgets everything that is under way. boundary_slots: the most activations that may wait
  // between two neighbours before send() waits; 0 = no limit. Only while no stage is at work.
  virtual void reset(int boundary_slots) = 0;
};

// Within one process (sent_tensor.h).
class InProcessTransfer : public Transfer {
 public:
  void send(const Route& route, int microbatch, Packet packet) override;
  Packet receive(const Route& route, int microbatch, c10::Device device) override;
  void cancel() override;
  void reset(int boundary_slots) override;

 private:
  struct Waiting {
    SentTensor tensor;
    bool wants_gradient;
  };
  std::mutex mutex_;
  std::condition_variable changed_;
  // Guarded by mutex_:
  std::map<Route, std::map<int, Waiting>> waiting_;
  bool cancelled_ = false;
  int boundary_slots_ = 0;
};

}  // namespace lamp
