// By linearity: each halo plane meets one plane of the kernel for each output plane that reads it.
#include "lamp/nets/halo_conv.h"

#include <algorithm>
#include <utility>

namespace lamp {
namespace {

// With fewer planes of its own a copy costs less than further calls.
constexpr std::int64_t kFewPlanes = 8;

// One plane of the halo, the output plane that reads it, and the plane of the kernel between.
struct HaloTerm {
  std::int64_t plane, output, tap;
};

class OwnPlanes {
 public:
  OwnPlanes(const SlabPlanes& planes, c10::IntArrayRef weight)
      : planes_(planes),
        rule_(plane_rule(weight, planes.geometry, planes.input.axis)),
        owned_(planes.input.owned[static_cast<std::size_t>(planes.rank)]),
        needed_(planes.input.needed[static_cast<std::size_t>(planes.rank)]),
        kept_(common(owned_, needed_)) {}

  bool joins() const {
    return (planes_.always_joined && kept_ != needed_) ||
           joins_halo(rule_, owned_, needed_, planes_.made.count());
  }
  const PlaneRange& kept() const { return kept_; }
  torch::Tensor narrowed_to_kept(const torch::Tensor& own) const {
    return kept_ == owned_ ? own : of_own(own, kept_);
  }
  torch::Tensor of_own(const torch::Tensor& own, const PlaneRange& range) const {
    return narrowed(own, axis(), {range.first - owned_.first, range.last - owned_.first});
  }
  // Zero padding in place of the halo.
  ConvGeometry padded() const {
    ConvGeometry geometry = planes_.geometry;
    geometry.padding[place()] = kept_.first - needed_.first;
    return geometry;
  }
  // One plane of the kernel on one plane of the input.
  ConvGeometry of_one_plane() const {
    ConvGeometry geometry = planes_.geometry;
    geometry.stride[place()] = 1;
    return geometry;
  }
  // What output planes read.
  PlaneRange read_by(const PlaneRange& outputs) const {
    const std::int64_t first = needed_.first + (outputs.first - planes_.made.first) * rule_.stride;
    return {first, first + (outputs.count() - 1) * rule_.stride + rule_.kernel};
  }
  // Output planes that read planes of other slabs, at both ends.
  std::vector<PlaneRange> outputs_with_halo() const {
    const PlaneRange& made = planes_.made;
    PlaneRange low{made.first, made.first}, high{made.last, made.last};
    if (needed_.first < kept_.first && kept_.first > 0)
      while (low.last < made.last && read_by({low.last, low.last + 1}).first < kept_.first)
        ++low.last;
    if (needed_.last > kept_.last && kept_.last < planes_.input.planes)
      while (high.first > low.last && read_by({high.first - 1, high.first}).last > kept_.last)
        --high.first;
    std::vector<PlaneRange> found;
    for (const PlaneRange& range : {low, high})
      if (range.count() > 0) found.push_back(range);
    return found;
  }
  std::vector<HaloTerm> terms() const {
    std::vector<HaloTerm> found;
    for (const PlaneRange& outputs : outputs_with_halo())
      for (std::int64_t output = outputs.first; output < outputs.last; ++output) {
        const PlaneRange read = common(read_by({output, output + 1}), {0, planes_.input.planes});
        const std::int64_t before = read_by({output, output + 1}).first;
        for (std::int64_t plane = read.first; plane < read.last; ++plane)
          if (plane < kept_.first || plane >= kept_.last)
            found.push_back({plane, output, plane - before});
      }
    return found;
  }
  std::int64_t axis() const { return planes_.input.axis; }

 private:
  std::size_t place() const { return static_cast<std::size_t>(axis() - 2); }

  const SlabPlanes& planes_;
  PlaneRule rule_;
  PlaneRange owned_, needed_, kept_;
};

// The slab that owns a plane, and where the plane lies in what that slab has sent.
std::pair<std::size_t, std::int64_t> place_in_halo(const SlabPlanes& planes, std::int64_t plane) {
  const PlaneRange& needed = planes.input.needed[static_cast<std::size_t>(planes.rank)];
  for (std::size_t slab = 0; slab < planes.input.owned.size(); ++slab) {
    const PlaneRange sent = common(planes.input.owned[slab], needed);
    if (sent.first <= plane && plane < sent.last) return {slab, plane - sent.first};
  }
  TORCH_CHECK(false, "plane ", plane, " of the halo is nobody's");
}

torch::Tensor joined(const SlabPlanes& planes, const torch::Tensor& own,
                     const std::vector<torch::Tensor>& halo, const torch::Tensor& weight) {
  return with_halo(planes.input, planes.rank, own, halo, layout_of_both(own, weight));
}

// What some output planes read, own planes and halo in one tensor.
torch::Tensor joined_for(const SlabPlanes& planes, const OwnPlanes& view, const PlaneRange& outputs,
                         const torch::Tensor& own, const std::vector<torch::Tensor>& halo,
                         const torch::Tensor& weight) {
  const PlaneRange read = view.read_by(outputs);
  const PlaneRange kept = common(read, view.kept());
  std::vector<std::int64_t> sizes = own.sizes().vec();
  sizes[static_cast<std::size_t>(view.axis())] = read.count();
  torch::Tensor result =
      torch::empty(sizes, own.options().memory_format(layout_of_both(own, weight)));
  for (std::int64_t plane = read.first; plane < read.last; ++plane) {
    const torch::Tensor target = result.narrow(view.axis(), plane - read.first, 1);
    if (plane < 0 || plane >= planes.input.planes) {
      target.zero_();
    } else if (kept.first <= plane && plane < kept.last) {
      target.copy_(view.of_own(own, {plane, plane + 1}));
    } else {
      const auto [slab, place] = place_in_halo(planes, plane);
      target.copy_(halo[slab].narrow(view.axis(), place, 1));
    }
  }
  return result;
}

HaloGradients gradients_of_joined(const SlabPlanes& planes, const torch::Tensor& output,
                                  const torch::Tensor& own, const std::vector<torch::Tensor>& halo,
                                  const torch::Tensor& weight, const WantedGradients& wanted) {
  HaloGradients found{convolution_gradients(output, joined(planes, own, halo, weight), weight,
                                            planes.geometry, wanted),
                      std::vector<torch::Tensor>(halo.size())};
  if (!wanted.input) return found;
  const auto rank = static_cast<std::size_t>(planes.rank);
  const PlaneRange& needed = planes.input.needed[rank];
  const torch::Tensor all = std::exchange(found.own.input, torch::Tensor());
  for (std::size_t slab = 0; slab < halo.size(); ++slab) {
    const PlaneRange theirs = common(planes.input.owned[slab], needed);
    if (slab != rank && theirs.count() == 0) continue;
    const std::int64_t first = theirs.count() == 0 ? 0 : theirs.first - needed.first;
    (slab == rank ? found.own.input : found.halo[slab]) =
        narrowed(all, planes.input.axis, {first, first + theirs.count()});
  }
  return found;
}

// What one term adds to the gradients of the kernel's plane and of the halo's.
void add_term(HaloGradients& found, const SlabPlanes& planes, const OwnPlanes& view,
              const HaloTerm& term, const torch::Tensor& output,
              const std::vector<torch::Tensor>& halo, const torch::Tensor& weight,
              const WantedGradients& wanted) {
  const auto [slab, place] = place_in_halo(planes, term.plane);
  const ConvGradients part = convolution_gradients(
      output.narrow(view.axis(), term.output - planes.made.first, 1),
      halo[slab].narrow(view.axis(), place, 1), weight.narrow(view.axis(), term.tap, 1),
      view.of_one_plane(), {.input = wanted.input, .weight = wanted.weight, .bias = false});
  if (wanted.weight) found.own.weight.narrow(view.axis(), term.tap, 1).add_(part.weight);
  if (!wanted.input) return;
  torch::Tensor& sum = found.halo[slab];
  if (!sum.defined()) sum = torch::zeros_like(halo[slab]);
  sum.narrow(view.axis(), place, 1).add_(part.input);
}

}  // namespace

bool joins_halo(const PlaneRule& rule, const PlaneRange& owned, const PlaneRange& needed,
                std::int64_t made_planes) {
  const PlaneRange kept = common(owned, needed);
  if (kept == needed) return false;
  if (rule.transposed || kept.count() < kFewPlanes) return true;
  const std::int64_t padding = kept.first - needed.first;
  return padding >= rule.kernel ||
         (kept.count() + 2 * padding - rule.kernel) / rule.stride + 1 != made_planes;
}

torch::Tensor run_with_halo(const SlabPlanes& planes, const torch::Tensor& own,
                            const std::vector<torch::Tensor>& halo, const torch::Tensor& weight,
                            const SlabKernel& kernel) {
  const OwnPlanes view(planes, weight.sizes());
  if (view.joins()) return kernel(joined(planes, own, halo, weight), planes.geometry);
  torch::Tensor result = kernel(view.narrowed_to_kept(own), view.padded());
  for (const PlaneRange& outputs : view.outputs_with_halo())
    narrowed(result, view.axis(),
             {outputs.first - planes.made.first, outputs.last - planes.made.first})
        .copy_(kernel(joined_for(planes, view, outputs, own, halo, weight), planes.geometry));
  return result;
}

HaloGradients gradients_with_halo(const SlabPlanes& planes, const torch::Tensor& output,
                                  const torch::Tensor& own, const std::vector<torch::Tensor>& halo,
                                  const torch::Tensor& weight, const WantedGradients& wanted) {
  const OwnPlanes view(planes, weight.sizes());
  if (view.joins()) return gradients_of_joined(planes, output, own, halo, weight, wanted);
  HaloGradients found{
      convolution_gradients(output, view.narrowed_to_kept(own), weight, view.padded(), wanted),
      std::vector<torch::Tensor>(halo.size())};
  for (const HaloTerm& term : view.terms())
    add_term(found, planes, view, term, output, halo, weight, wanted);
  return found;
}

}  // namespace lamp
