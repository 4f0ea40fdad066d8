// A result on the strided side (sequence/plane_range.h) is gathered from the planes of the dense
// side that belong to its own, zeros where they lie beyond its ends; a result on the dense side is
// what the strided planes that reach it scatter.
#include "lamp/nets/conv_pieces.h"

#include <algorithm>
#include <atomic>
#include <functional>

namespace lamp {
namespace {

using SizeList = std::vector<std::int64_t>;

constexpr std::int64_t kPieces = 8;  // a piece beside the whole should cost little memory
std::atomic<std::int64_t> limit = std::int64_t{1} << 31;

std::int64_t product(const SizeList& sizes) {
  std::int64_t result = 1;
  for (const std::int64_t size : sizes) result *= size;
  return result;
}

class Sides {
 public:
  Sides(c10::IntArrayRef input, c10::IntArrayRef weight, const ConvGeometry& geometry)
      : geometry_(geometry), weight_(weight.vec()) {
    const SizeList output = output_sizes(input, weight, geometry);
    dense = geometry.transposed ? output : input.vec();
    strided = geometry.transposed ? input.vec() : output;
  }

  SizeList dense, strided;  // [N, C, D, H, W]

  // Both in planes of an axis; the first may lie beyond the ends.
  PlaneRange dense_of(std::int64_t axis, const PlaneRange& planes) const {
    return rule(axis).dense_of(planes);
  }
  PlaneRange strided_of(std::int64_t axis, const PlaneRange& planes) const {
    return common(rule(axis).strided_of(planes), {0, at(strided, axis)});
  }
  // Of the larger tensor of one sample, all planes.
  std::int64_t sample_elements() const {
    return std::max(product(dense) / dense[0], product(strided) / strided[0]);
  }
  // The same for `count` planes of the side that the result lies on, with their halo.
  std::int64_t elements(std::int64_t axis, std::int64_t count, bool on_dense) const {
    const PlaneRule of = rule(axis);
    const std::int64_t strided_count = on_dense ? (count + of.kernel - 2) / of.stride + 1 : count;
    const std::int64_t of_dense = product(dense) / dense[0] / at(dense, axis),
                       of_strided = product(strided) / strided[0] / at(strided, axis);
    return std::max(of_dense * std::max(count, of.dense_of({0, strided_count}).count()),
                    of_strided * strided_count);
  }
  const ConvGeometry& geometry() const { return geometry_; }
  static std::int64_t at(const SizeList& sizes, std::int64_t axis) {
    return sizes[static_cast<std::size_t>(axis)];
  }

 private:
  PlaneRule rule(std::int64_t axis) const { return plane_rule(weight_, geometry_, axis); }

  ConvGeometry geometry_;
  SizeList weight_;
};

struct Piece {
  PlaneRange samples;
  std::int64_t axis;      // that is cut
  PlaneRange planes;      // of the result
  bool is_whole;          // all planes: the geometry is the convolution's own
  ConvGeometry geometry;  // else without padding along the axis
};

struct Cut {
  std::int64_t axis;
  std::int64_t planes;
};

// Along D, where a plane of the other axes is small enough; ranges as short as asked for, else as
// long as a kernel takes.
Cut cut_of(const Sides& sides, bool on_dense) {
  const SizeList& result = on_dense ? sides.dense : sides.strided;
  for (const std::int64_t most : {limit.load() / kPieces, limit.load() - 1})
    for (std::int64_t axis = 2; axis < 5; ++axis) {
      std::int64_t planes = 0;
      while (planes < Sides::at(result, axis) && sides.elements(axis, planes + 1, on_dense) <= most)
        ++planes;
      if (planes > 0) return {axis, planes};
    }
  TORCH_CHECK(false, "a convolution between ", torch::IntArrayRef(sides.dense), " and ",
              torch::IntArrayRef(sides.strided), " has planes of ", limit.load(),
              " elements or more: no kernel takes them");
}

std::vector<Piece> pieces_of(const Sides& sides, bool on_dense) {
  const SizeList& result = on_dense ? sides.dense : sides.strided;
  std::vector<Piece> pieces;
  const std::int64_t sample = std::max<std::int64_t>(sides.sample_elements(), 1);
  if (sample < limit) {
    const std::int64_t step = std::max<std::int64_t>((limit - 1) / sample, 1);
    for (std::int64_t n = 0; n < result[0]; n += step)
      pieces.push_back({{n, std::min(n + step, result[0])},
                        2,
                        {0, result[2]},
                        /*is_whole=*/true,
                        sides.geometry()});
    return pieces;
  }
  const Cut cut = cut_of(sides, on_dense);
  const std::int64_t length = Sides::at(result, cut.axis);
  ConvGeometry unpadded = sides.geometry();
  unpadded.padding[static_cast<std::size_t>(cut.axis - 2)] = 0;
  for (std::int64_t n = 0; n < result[0]; ++n)
    for (std::int64_t first = 0; first < length; first += cut.planes)
      pieces.push_back({{n, n + 1},
                        cut.axis,
                        {first, std::min(first + cut.planes, length)},
                        /*is_whole=*/false,
                        unpadded});
  return pieces;
}

torch::Tensor empty_in_layout(const SizeList& sizes, const torch::Tensor& like,
                              at::MemoryFormat layout) {
  return torch::empty(sizes, like.options().memory_format(layout));
}

// Planes of one axis, those beyond its ends as zeros.
torch::Tensor padded_planes(const torch::Tensor& tensor, std::int64_t axis,
                            const PlaneRange& planes) {
  const PlaneRange inside = common(planes, {0, tensor.size(axis)});
  if (inside == planes) return narrowed(tensor, axis, planes);
  SizeList sizes = tensor.sizes().vec();
  sizes[static_cast<std::size_t>(axis)] = planes.count();
  torch::Tensor padded = empty_in_layout(sizes, tensor, tensor.suggest_memory_format());
  padded.zero_();
  if (inside.count() > 0)
    narrowed(padded, axis, {inside.first - planes.first, inside.last - planes.first})
        .copy_(narrowed(tensor, axis, inside));
  return padded;
}

// The piece of the dense side, or of the strided one, that belongs to strided planes.
torch::Tensor dense_piece(const Sides& sides, const torch::Tensor& tensor, const Piece& piece) {
  const torch::Tensor samples = narrowed(tensor, 0, piece.samples);
  return piece.is_whole
             ? samples
             : padded_planes(samples, piece.axis, sides.dense_of(piece.axis, piece.planes));
}

torch::Tensor strided_piece(const torch::Tensor& tensor, const Piece& piece) {
  return narrowed(narrowed(tensor, 0, piece.samples), piece.axis, piece.planes);
}

// One piece of the result from one piece of the source.
using PieceKernel = std::function<torch::Tensor(const torch::Tensor& source, const Piece& piece)>;

// source: the dense side. The result is the strided one.
torch::Tensor gather(const Sides& sides, const torch::Tensor& source, const torch::Tensor& result,
                     const PieceKernel& kernel) {
  for (const Piece& piece : pieces_of(sides, /*on_dense=*/false))
    strided_piece(result, piece).copy_(kernel(dense_piece(sides, source, piece), piece));
  return result;
}

// source: the strided side. The result is the dense one, `rest` (zeros if undefined) where nothing
// arrives.
torch::Tensor scatter(const Sides& sides, const torch::Tensor& source, const torch::Tensor& result,
                      const torch::Tensor& rest, const PieceKernel& kernel) {
  for (const Piece& piece : pieces_of(sides, /*on_dense=*/true)) {
    const torch::Tensor samples = narrowed(source, 0, piece.samples);
    torch::Tensor target = narrowed(narrowed(result, 0, piece.samples), piece.axis, piece.planes);
    if (piece.is_whole) {
      target.copy_(kernel(samples, piece));
      continue;
    }
    const PlaneRange from = sides.strided_of(piece.axis, piece.planes);
    const PlaneRange made = from.count() > 0 ? sides.dense_of(piece.axis, from)
                                             : PlaneRange{piece.planes.first, piece.planes.first};
    const PlaneRange shared = common(made, piece.planes);
    if (shared.count() < piece.planes.count()) {
      target.zero_();
      if (rest.defined()) target.add_(rest.view({1, -1, 1, 1, 1}));
    }
    if (shared.count() <= 0) continue;
    const torch::Tensor all = kernel(narrowed(samples, piece.axis, from), piece);
    narrowed(target, piece.axis,
             {shared.first - piece.planes.first, shared.last - piece.planes.first})
        .copy_(narrowed(all, piece.axis, {shared.first - made.first, shared.last - made.first}));
  }
  return result;
}

at::ScalarType sum_type(const torch::Tensor& tensor) {
  return tensor.scalar_type() == torch::kFloat64 ? torch::kFloat64 : torch::kFloat32;
}

// Of tensors whose sizes alone matter.
torch::Tensor stand_in(const Sides& sides, const torch::Tensor& like, const Piece& piece,
                       const torch::Tensor& strided) {
  SizeList sizes = like.sizes().vec();
  sizes[0] = piece.samples.count();
  if (!piece.is_whole)
    sizes[static_cast<std::size_t>(piece.axis)] =
        sides.dense_of(piece.axis, {0, strided.size(piece.axis)}).count();
  return empty_in_layout(sizes, like, like.suggest_memory_format());
}

torch::Tensor input_gradient(const Sides& sides, const torch::Tensor& output,
                             const torch::Tensor& input, const torch::Tensor& weight) {
  const WantedGradients wanted{.input = true, .weight = false, .bias = false};
  const torch::Tensor result =
      empty_in_layout(input.sizes().vec(), input, layout_of_both(input, weight));
  if (sides.geometry().transposed)
    return gather(sides, output, result, [&](const torch::Tensor& part, const Piece& piece) {
      return convolution_gradients(part, strided_piece(input, piece), weight, piece.geometry,
                                   wanted)
          .input;
    });
  return scatter(sides, output, result, {}, [&](const torch::Tensor& part, const Piece& piece) {
    return convolution_gradients(part, stand_in(sides, input, piece, part), weight, piece.geometry,
                                 wanted)
        .input;
  });
}

torch::Tensor weight_gradient(const Sides& sides, const torch::Tensor& output,
                              const torch::Tensor& input, const torch::Tensor& weight) {
  const WantedGradients wanted{.input = false, .weight = true, .bias = false};
  const bool transposed = sides.geometry().transposed;
  torch::Tensor sum = torch::zeros_like(weight, torch::TensorOptions().dtype(sum_type(weight)));
  for (const Piece& piece : pieces_of(sides, /*on_dense=*/false)) {
    const torch::Tensor dense = dense_piece(sides, transposed ? output : input, piece),
                        strided = strided_piece(transposed ? input : output, piece);
    sum += convolution_gradients(transposed ? dense : strided, transposed ? strided : dense, weight,
                                 piece.geometry, wanted)
               .weight.to(sum.scalar_type());
  }
  return sum.to(weight.scalar_type());
}

torch::Tensor bias_gradient(const torch::Tensor& output) {
  return output.sum({0, 2, 3, 4}, /*keepdim=*/false, sum_type(output)).to(output.scalar_type());
}

}  // namespace

KernelLimit::KernelLimit(std::int64_t elements) : before_(limit.exchange(elements)) {}
KernelLimit::~KernelLimit() { limit = before_; }

bool is_too_large(c10::IntArrayRef input, c10::IntArrayRef weight, const ConvGeometry& geometry) {
  return product(input.vec()) >= limit || product(output_sizes(input, weight, geometry)) >= limit;
}

torch::Tensor convolution_by_pieces(const torch::Tensor& input, const torch::Tensor& weight,
                                    const torch::Tensor& bias, const ConvGeometry& geometry) {
  const Sides sides(input.sizes(), weight.sizes(), geometry);
  const torch::Tensor result = empty_in_layout(geometry.transposed ? sides.dense : sides.strided,
                                               input, layout_of_both(input, weight));
  const auto kernel = [&](const torch::Tensor& part, const Piece& piece) {
    return convolution(part, weight, bias, piece.geometry);
  };
  return geometry.transposed ? scatter(sides, input, result, bias, kernel)
                             : gather(sides, input, result, kernel);
}

ConvGradients gradients_by_pieces(const torch::Tensor& output, const torch::Tensor& input,
                                  const torch::Tensor& weight, const ConvGeometry& geometry,
                                  const WantedGradients& wanted) {
  const Sides sides(input.sizes(), weight.sizes(), geometry);
  ConvGradients gradients;
  if (wanted.input) gradients.input = input_gradient(sides, output, input, weight);
  if (wanted.weight) gradients.weight = weight_gradient(sides, output, input, weight);
  if (wanted.bias) gradients.bias = bias_gradient(output);
  return gradients;
}

}  // namespace lamp
