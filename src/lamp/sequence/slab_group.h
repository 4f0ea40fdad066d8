// The slabs of one volume and how they talk. A volume that is too much for one worker is cut into
// ranges of planes; each worker holds its range of every activation, and where a layer needs more
// than its own planes or a sum over the volume, the workers exchange them. Together they compute
// what one would: nothing is approximated.
//
// All slabs call the same exchanges in the same order. What is returned has the same bits in every
// slab, and from run to run, for a given number of slabs: sums are taken in slab order.
#pragma once

#include <torch/types.h>

#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "lamp/sequence/plane_range.h"

namespace lamp {

// One slab's side of the group; used by that slab's thread only.
class SlabGroup {
 public:
  SlabGroup(int rank, SlabCut cut) : rank_(rank), cut_(std::move(cut)) {}
  virtual ~SlabGroup() = default;

  // Sends outgoing[r] to slab r and returns what slab r has sent here, on this slab's device.
  // Undefined = nothing; one's own place comes back as it is. Tensors are read by the others, so
  // nobody may write into them afterwards. Throws Cancelled where another slab has failed.
  virtual std::vector<torch::Tensor> all_to_all(std::vector<torch::Tensor> outgoing) = 0;

  int rank() const { return rank_; }
  int size() const { return static_cast<int>(cut_.slabs()); }
  std::int64_t axis() const { return cut_.axis; }
  const SlabCut& cut() const { return cut_; }
  // This slab's planes at a level with so many.
  PlaneRange owned(std::int64_t planes) const {
    return cut_.owned(planes)[static_cast<std::size_t>(rank_)];
  }
  // Bytes sent to other slabs so far.
  std::int64_t sent_bytes() const { return sent_bytes_; }

 protected:
  // By slab; what is one's own or undefined is not sent.
  void count_sent(const std::vector<torch::Tensor>& outgoing);

 private:
  int rank_;
  SlabCut cut_;
  std::int64_t sent_bytes_ = 0;
};

// The sum over all slabs; tensors of one shape. Without a graph.
torch::Tensor sum_over_slabs(SlabGroup& group, const torch::Tensor& part);
// The same with a gradient, for what each slab goes on to use in its own planes: the gradient is
// the sum of all slabs' gradients.
torch::Tensor all_reduce(const std::shared_ptr<SlabGroup>& group, const torch::Tensor& part);

// The planes that each slab needs of a tensor of which each owns some.
struct HaloPlan {
  std::int64_t axis;
  std::int64_t planes;             // of the whole tensor
  std::vector<PlaneRange> owned;   // by slab
  std::vector<PlaneRange> needed;  // by slab; may reach beyond both ends
};

// What slab `group.rank()` needs and others own, by slab in their order; undefined where nothing
// is.
std::vector<torch::Tensor> fetch_halo(SlabGroup& group, const HaloPlan& plan,
                                      const torch::Tensor& own);
// `range`, some of the needed planes, in one tensor of the layout given: own ones, the halo as it
// was fetched, zeros beyond the ends.
torch::Tensor with_halo(const HaloPlan& plan, int rank, const PlaneRange& range,
                        const torch::Tensor& own, const std::vector<torch::Tensor>& halo,
                        at::MemoryFormat format);
// The way back: halo[r] is the gradient of slab r's planes that this one needed (undefined where
// none), and is added there in slab order. own: of the own planes that were needed here; it may be
// written into where it shares its memory with nothing. Returns the gradient of all own planes.
torch::Tensor return_halo(SlabGroup& group, const HaloPlan& plan, const torch::Tensor& own,
                          std::vector<torch::Tensor> halo);

}  // namespace lamp
