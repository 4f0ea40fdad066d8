// At the end of a step the gradients of all lanes (lanes.h) become those of the first. The work is
// shared out: each parameter of a stage has an owner, a lane whose worker sums it, so that no
// thread and no link carries all of it. It begins under the backward pass, since a gradient is
// final as soon as a lane's last backward pass has added to it:
//
//   lane 0  ... last backward: d handed over, c handed over, c summed, b, a handed over | a summed
//   lane 1  ... last backward: d handed over, d summed, c, b handed over, b summed, a   |
#pragma once

#include <torch/nn/module.h>
#include <torch/types.h>

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <map>
#include <mutex>
#include <optional>
#include <vector>

#include "lamp/pipeline/sent_tensor.h"
#include "lamp/pipeline/side_streams.h"

namespace lamp {

struct ParameterSize {
  std::int64_t rows;  // of its first dimension; 1 of a scalar
  std::int64_t bytes;
};

// Rows of a parameter that one lane sums.
struct GradientPiece {
  std::size_t parameter;
  std::size_t owner;
  std::int64_t first;
  std::int64_t count;
};

// A parameter of kLargeParameterBytes is shared by all owners, as evenly as its rows allow; of the
// others the largest first, each to the owner with the fewest bytes so far, of equals the first.
// Where lanes lie apart, on devices of their own, and there are more than two, the first owns
// nothing: its link carries all sums anyway. lanes >= 1. By parameter, there by row.
inline constexpr std::int64_t kLargeParameterBytes = std::int64_t{1} << 18;
std::vector<GradientPiece> deal_pieces(const std::vector<ParameterSize>& sizes, std::size_t lanes,
                                       bool lie_apart);

// Of one stage. Each lane's calls come from one thread at a time; lanes run side by side.
class GradientSum {
 public:
  GradientSum() = default;
  ~GradientSum();
  GradientSum(const GradientSum&) = delete;
  GradientSum& operator=(const GradientSum&) = delete;

  // The stage's parameters in the next lane, in the same order in each, none twice. While this
  // lives torch tells it of every gradient that a backward pass adds to them.
  void add_lane(const std::vector<torch::Tensor>& parameters);
  // The first lane's weights to all others: each first to its owner's device, from there on. GPUs
  // may compute meanwhile; who reads a weight awaits it.
  void send_weights();
  // What the thread gives the lane's device from here on runs when the weights of this layer, one
  // of the stage in this lane, are there. Never holds up the thread.
  void await_weights(std::size_t lane, const torch::nn::Module& layer) const;

  // Only while no lane is at work: forgets what was handed over, and the gradients of all lanes but
  // the first. The first `lanes` take part in the next step.
  void reset(std::size_t lanes);
  // The lane's next backward pass is its last of the step, and nothing else adds to gradients.
  void begin_last_backward(std::size_t lane);
  // After the lane's last action: hands over what is left, then waits for the rest of its share and
  // sums it. Throws Cancelled.
  void finish(std::size_t lane);
  // When every lane has finished: the sums become the gradients of the first lane's parameters.
  void take_sums();
  // Lets every wait end; until reset() all further ones end at once.
  void cancel();

 private:
  class Hook;
  struct LaneShare {
    std::vector<torch::Tensor> parameters;
    std::map<const void*, std::size_t> places;  // of parameters
    std::vector<SentTensor> sent;               // [parameter], its weights on their way
    // Guarded by mutex_:
    bool in_last_backward = false;
    std::vector<bool> handed_over;      // [parameter]
    std::vector<std::size_t> complete;  // its own pieces that every lane has handed over
    std::size_t left = 0;               // its own that are not being summed yet
  };

  std::vector<GradientPiece> pieces_among(std::size_t lanes) const;
  void hand_over(std::size_t lane, std::size_t parameter);
  void after_gradient(std::size_t lane, std::size_t parameter);
  // Every lane has handed the parameter over. mutex_ is held.
  void begin_sum(std::size_t parameter);
  // The next of the lane's own that is complete; waits: until there is one, or none is left.
  std::optional<std::size_t> next_own(std::size_t lane, bool waits);
  void sum_piece(std::size_t index);

  std::vector<ParameterSize> sizes_;  // [parameter]
  std::vector<LaneShare> lanes_;
  std::vector<GradientPiece> pieces_;  // in this step
  SideStreams side_;                   // of all lanes' devices
  std::mutex mutex_;
  std::condition_variable changed_;
  // Guarded by mutex_:
  std::vector<std::vector<SentTensor>> gradients_;  // [parameter][lane], handed over
  std::vector<std::size_t> missing_;                // [parameter], lanes that have not
  std::vector<std::size_t> unsummed_;               // [parameter], pieces
  // [parameter], on the first lane's device; undefined until all lanes have handed it over, or
  // where none has a gradient. Rows are written by their owners only.
  std::vector<torch::Tensor> sums_;
  bool cancelled_ = false;
};

}  // namespace lamp
