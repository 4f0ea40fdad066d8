// Exchanges made of one primitive, all_to_all.
#include "lamp/sequence/slab_group.h"

#include <torch/autograd.h>
#include <torch/custom_class.h>

#include <algorithm>
#include <memory>
#include <utility>

namespace lamp {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

struct GroupHolder : torch::CustomClassHolder {
  explicit GroupHolder(std::shared_ptr<SlabGroup> of) : group(std::move(of)) {}
  std::shared_ptr<SlabGroup> group;
};

struct AllReduce : torch::autograd::Function<AllReduce> {
  static torch::Tensor forward(AutogradContext* context, const torch::Tensor& part,
                               const c10::intrusive_ptr<GroupHolder>& holder) {
    context->saved_data["group"] = c10::IValue::make_capsule(holder);
    return sum_over_slabs(*holder->group, part);
  }
  static variable_list backward(AutogradContext* context, const variable_list& outputs) {
    const auto holder =
        c10::static_intrusive_pointer_cast<GroupHolder>(context->saved_data["group"].toCapsule());
    return {sum_over_slabs(*holder->group, outputs[0]), torch::Tensor()};
  }
};

// Planes counted from the first of `of`.
PlaneRange within(const PlaneRange& range, const PlaneRange& of) {
  return {range.first - of.first, range.last - of.first};
}

// `range` from a tensor that begins at plane `from` into one that begins at plane `to`.
void copy_planes(const torch::Tensor& target, std::int64_t to, const torch::Tensor& source,
                 std::int64_t from, std::int64_t axis, const PlaneRange& range) {
  if (range.count() > 0)
    target.narrow(axis, range.first - to, range.count())
        .copy_(source.narrow(axis, range.first - from, range.count()));
}

void clear_planes(const torch::Tensor& target, std::int64_t axis, const PlaneRange& place) {
  if (place.count() > 0) narrowed(target, axis, place).zero_();
}

// Whether the tensor's memory holds more than the tensor.
bool is_part(const torch::Tensor& tensor) { return tensor.nbytes() != tensor.storage().nbytes(); }

}  // namespace

void SlabGroup::count_sent(const std::vector<torch::Tensor>& outgoing) {
  for (std::size_t slab = 0; slab < outgoing.size(); ++slab)
    if (outgoing[slab].defined() && static_cast<int>(slab) != rank_)
      sent_bytes_ += static_cast<std::int64_t>(outgoing[slab].nbytes());
}

torch::Tensor sum_over_slabs(SlabGroup& group, const torch::Tensor& part) {
  const torch::NoGradGuard no_graph;
  const torch::Tensor detached = part.detach();
  const auto parts = group.all_to_all(
      std::vector<torch::Tensor>(static_cast<std::size_t>(group.size()), detached));
  torch::Tensor sum = parts.front().clone();
  for (std::size_t slab = 1; slab < parts.size(); ++slab) sum.add_(parts[slab]);
  return sum;
}

torch::Tensor all_reduce(const std::shared_ptr<SlabGroup>& group, const torch::Tensor& part) {
  return AllReduce::apply(part, c10::make_intrusive<GroupHolder>(group));
}

std::vector<torch::Tensor> fetch_halo(SlabGroup& group, const HaloPlan& plan,
                                      const torch::Tensor& own) {
  const auto rank = static_cast<std::size_t>(group.rank());
  std::vector<torch::Tensor> outgoing(plan.owned.size());
  for (std::size_t slab = 0; slab < outgoing.size(); ++slab) {
    const PlaneRange wanted = common(plan.owned[rank], plan.needed[slab]);
    if (slab != rank && wanted.count() > 0)
      outgoing[slab] = narrowed(own.detach(), plan.axis, within(wanted, plan.owned[rank]));
  }
  return group.all_to_all(std::move(outgoing));
}

torch::Tensor with_halo(const HaloPlan& plan, int rank, const PlaneRange& range,
                        const torch::Tensor& own, const std::vector<torch::Tensor>& halo,
                        at::MemoryFormat format) {
  const auto self = static_cast<std::size_t>(rank);
  const PlaneRange kept = common(plan.owned[self], range);
  if (kept == range) return narrowed(own, plan.axis, within(kept, plan.owned[self]));
  std::vector<std::int64_t> sizes = own.sizes().vec();
  sizes[static_cast<std::size_t>(plan.axis)] = range.count();
  torch::Tensor joined = torch::empty(sizes, own.options().memory_format(format));
  copy_planes(joined, range.first, own, plan.owned[self].first, plan.axis, kept);
  for (std::size_t slab = 0; slab < halo.size(); ++slab)
    if (slab != self)
      copy_planes(joined, range.first, halo[slab],
                  common(plan.owned[slab], plan.needed[self]).first, plan.axis,
                  common(plan.owned[slab], range));
  clear_planes(joined, plan.axis, {0, std::min(-range.first, range.count())});
  clear_planes(joined, plan.axis,
               {std::max<std::int64_t>(plan.planes - range.first, 0), range.count()});
  return joined;
}

torch::Tensor return_halo(SlabGroup& group, const HaloPlan& plan, const torch::Tensor& own,
                          std::vector<torch::Tensor> halo) {
  const auto rank = static_cast<std::size_t>(group.rank());
  const PlaneRange& owned = plan.owned[rank];
  const PlaneRange kept = common(owned, plan.needed[rank]);
  const auto incoming = group.all_to_all(std::move(halo));
  torch::Tensor sum = own;
  if (kept != owned || is_part(own)) {
    std::vector<std::int64_t> sizes = own.sizes().vec();
    sizes[static_cast<std::size_t>(plan.axis)] = owned.count();
    sum = torch::empty(sizes, own.options().memory_format(own.suggest_memory_format()));
    if (kept != owned) sum.zero_();
    copy_planes(sum, owned.first, own, kept.first, plan.axis, kept);
  }
  for (std::size_t slab = 0; slab < incoming.size(); ++slab)
    if (slab != rank && incoming[slab].defined())
      narrowed(sum, plan.axis, within(common(plan.needed[slab], owned), owned))
          .add_(incoming[slab]);
  return sum;
}

}  // namespace lamp
