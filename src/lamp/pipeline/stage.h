// One stage of a pipeline: some neighbouring links of the chain on one device, with an autograd
// graph of its own for each micro-batch. Graphs never cross a stage: one begins with what arrives,
// and the gradient that ends up there is what goes back. So each stage runs its backward on its own
// thread.
#pragma once

#include <torch/csrc/autograd/edge.h>
#include <torch/types.h>

#include <atomic>
#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "lamp/pipeline/gradient_sum.h"
#include "lamp/pipeline/microbatch.h"
#include "lamp/pipeline/partition.h"
#include "lamp/pipeline/recompute.h"
#include "lamp/pipeline/schedule.h"
#include "lamp/pipeline/timeline.h"
#include "lamp/pipeline/transfer.h"
#include "lamp/sequence/batch_norm.h"
#include "lamp/sequence/run_context.h"
#include "lamp/sequence/sequence.h"
#include "lamp/sequence/slab_group.h"

namespace lamp {

// What of a batch a loss is taken of.
struct BatchPart : MicroBatch {
  SlabGroup* slabs = nullptr;  // of whose planes the output holds this slab's; null = all are there
};

// The loss of one micro-batch: output [n, ...] of the last stage, on its device, and which part of
// the batch this is -> a scalar that is a mean over the samples. Called on the last stage's thread.
// Of a slab: the whole volumes' loss, the same in each slab, with the gradient of the own planes.
using LossFunction =
    std::function<torch::Tensor(const torch::Tensor& output, const BatchPart& part)>;

// What all stages of one lane share during a step, and where they leave results: each slot is
// written by one stage only.
struct StepState {
  std::vector<MicroBatch> parts;      // [M] of the batch
  std::int64_t samples = 0;           // of the batch, with those of other replicas
  int first_microbatch = 0;           // number of parts[0] among all replicas', for dropout masks
  std::vector<torch::Tensor> inputs;  // [M]
  // Of volumes in slabs, by micro-batch; else empty. Planes are those of the whole volume before
  // each link and after the last.
  std::vector<SlabCut> cuts;
  std::vector<std::vector<std::int64_t>> planes;
  const LossFunction* loss = nullptr;
  double gradient_scale = 1;
  bool training = true;                 // false: forwards only, without gradients
  std::function<void()> between_links;  // called before each link, if there is one
  bool collects_statistics = false;     // of batch norms: Stage::take_statistics()
  std::uint64_t seed = 0;
  std::int64_t step = 0;
  std::chrono::steady_clock::time_point start = std::chrono::steady_clock::now();

  std::vector<torch::Tensor> outputs;            // [M], without a loss
  std::vector<torch::Tensor> losses;             // [M]
  std::vector<torch::Tensor> input_gradients;    // [M], where the input wants them
  const std::atomic<bool>* cancelled = nullptr;  // another worker has failed
};

// The slabs of a micro-batch, of which the stage holds one.
using SlabsMaker = std::function<std::shared_ptr<SlabGroup>(int microbatch, const SlabCut& cut)>;

struct StageOptions {
  int index;
  int stages;
  StageRange links;
  c10::Device device;
  RecomputeRule recompute = RecomputeRule::kNever;
  bool split_backward = false;
  int row = 0;                 // number of its own among all workers, for accounts and timelines
  int replica = 0;             // whose part of the batch
  int slab = 0;                // which of each volume's
  SlabsMaker make_slabs;       // null = whole volumes
  bool keeps_buffers = true;   // false: they are copies, which nobody reads after a step
  std::size_t lane = 0;        // whose gradients are in `sum`
  GradientSum* sum = nullptr;  // of the stage's lanes; null = there is only one in this process
};

// Not thread-safe: one worker at a time.
class Stage {
 public:
  Stage(std::shared_ptr<Sequence> chain, const Partition& partition, const StageOptions& options,
        Transfer& transfer);

  // Remembers buffers, such as running statistics, for rollback().
  void begin(StepState& step);
  void run(const Action& action);
  // After the last action of a step with gradients: the lane's share of the sum over all lanes.
  // Throws Cancelled.
  void sum_gradients();
  // Of batch norms, in the order of micro-batches, where the step collects them.
  std::vector<NormStatistics> take_statistics() { return std::exchange(statistics_, {}); }
  // After a step that succeeded.
  void finish();
  // After a step that failed: nothing of it remains.
  void rollback();

  int index() const { return options_.index; }
  int row() const { return options_.row; }
  int replica() const { return options_.replica; }
  int slab() const { return options_.slab; }
  bool is_last() const { return options_.index + 1 == options_.stages; }
  // Of the step: the most micro-batches sent forward and not yet back, bytes sent over boundaries
  // and skips going forward, and what was done when.
  int peak_in_flight() const { return peak_in_flight_; }
  std::int64_t boundary_bytes() const { return boundary_bytes_; }
  std::int64_t skip_bytes() const { return skip_bytes_; }
  // Sent to other slabs in the step, forward and backward.
  std::int64_t halo_bytes() const;
  const std::vector<TimelineEntry>& events() const { return events_; }
  // Where the stage is, for messages: the link that ran last.
  const std::string& link_name() const { return chain_->names()[link_]; }
  const std::vector<torch::Tensor>& parameters() const { return parameters_; }  // none twice

 private:
  // What is sent on and what comes back for it: the place in this stage's graph.
  struct Sent {
    torch::autograd::Edge edge;
    bool wants_gradient = false;
  };
  struct Arrival;  // the place in this stage's graph where a gradient ends up
  struct Arrived {
    torch::Tensor tensor;
    std::shared_ptr<Arrival> node;  // null = no gradient is wanted
  };
  struct InFlight {
    Arrived input;
    std::map<std::string, Arrived> popped;  // skips from other stages
    std::map<std::string, Sent> stashed;    // skips for other stages
    Sent output;
    torch::Tensor result;  // the last stage's output, for the loss
    std::shared_ptr<WeightTasks> weight_tasks;
  };
  class Skips;

  void forward(int microbatch);
  void backward(int microbatch);
  void weight(int microbatch);
  static Arrived arrive(torch::Tensor tensor, bool wants_gradient);
  Arrived receive(const Route& route, int microbatch);
  Arrived receive_input(int microbatch);
  torch::Tensor run_links(InFlight& state, int microbatch, bool first_time);
  void run_again(InFlight& state, int microbatch);
  // Returns when everything it waited for was there.
  double run_graph(InFlight& state, int microbatch);
  void add_loss_root(InFlight& state, int microbatch, std::vector<torch::autograd::Edge>& roots,
                     std::vector<torch::Tensor>& gradients);
  void send_back(InFlight& state, int microbatch);
  bool recomputes_now(int microbatch) const;
  bool wants_gradient(const InFlight& state, const torch::Tensor& tensor, int microbatch) const;
  bool is_first() const { return options_.index == 0; }
  Route boundary(Cargo cargo, bool ahead) const;
  // The micro-batch's slabs; null for whole volumes.
  std::shared_ptr<SlabGroup> slabs_of(int microbatch);
  double now() const;

  std::shared_ptr<Sequence> chain_;
  StageOptions options_;
  Transfer& transfer_;
  std::map<std::string, int> incoming_;      // skip -> the stage that stashes it
  std::map<std::string, int> outgoing_;      // skip -> the stage that pops it
  std::vector<std::string> outgoing_order_;  // popped last comes first
  std::vector<torch::Tensor> parameters_;
  std::vector<torch::Tensor> buffers_;

  // Of the step:
  StepState* step_ = nullptr;
  std::vector<torch::Tensor> buffers_before_;
  std::vector<NormStatistics> statistics_;
  std::map<int, InFlight> in_flight_;
  std::map<int, std::shared_ptr<SlabGroup>> slabs_;  // by micro-batch
  std::size_t link_ = 0;
  int flying_ = 0;
  int backwards_ = 0;  // begun
  int peak_in_flight_ = 0;
  std::int64_t boundary_bytes_ = 0;
  std::int64_t skip_bytes_ = 0;
  std::vector<TimelineEntry> events_;
};

}  // namespace lamp
