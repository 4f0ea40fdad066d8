// Each owner's pieces lie in one buffer of bytes: a mark for each, whether there is a gradient,
// then their elements.
#include "lamp/processes/gradient_exchange.h"

#include <torch/utils.h>

#include <cstdint>
#include <utility>

#include "lamp/pipeline/gradient_sum.h"

namespace lamp {
namespace {

constexpr int kPartTag = kFirstTransferTag - 1;
constexpr int kSumTag = kFirstTransferTag - 2;
constexpr std::int64_t kAlignment = 16;

std::int64_t aligned(std::int64_t bytes) {
  return (bytes + kAlignment - 1) / kAlignment * kAlignment;
}

torch::Tensor piece_rows(const torch::Tensor& tensor, const GradientPiece& piece) {
  return tensor.dim() == 0 ? tensor : tensor.narrow(0, piece.first, piece.count);
}

// One owner's pieces and where they lie in its buffers.
class OwnerPieces {
 public:
  OwnerPieces(const std::vector<GradientPiece>& all, std::size_t owner,
              const std::vector<torch::Tensor>& parameters)
      : parameters_(parameters) {
    for (const GradientPiece& piece : all)
      if (piece.owner == owner) pieces_.push_back(piece);
    bytes_ = aligned(std::ssize(pieces_));
    for (const GradientPiece& piece : pieces_) {
      offsets_.push_back(bytes_);
      bytes_ += aligned(
          static_cast<std::int64_t>(piece_rows(parameters[piece.parameter], piece).nbytes()));
    }
  }

  bool empty() const { return pieces_.empty(); }
  torch::Tensor empty_buffer() const { return torch::zeros({bytes_}, torch::kByte); }

  // This lane's gradients.
  torch::Tensor own_buffer() const {
    torch::Tensor buffer = empty_buffer();
    for (std::size_t i = 0; i < pieces_.size(); ++i) {
      const torch::Tensor& gradient = parameters_[pieces_[i].parameter].grad();
      if (!gradient.defined()) continue;
      mark(buffer, i);
      elements(buffer, i).copy_(piece_rows(gradient, pieces_[i]));
    }
    return buffer;
  }

  // In the order of the buffers: as GradientSum adds.
  torch::Tensor sum(const std::vector<torch::Tensor>& buffers) const {
    torch::Tensor sums = empty_buffer();
    for (std::size_t i = 0; i < pieces_.size(); ++i)
      for (const torch::Tensor& buffer : buffers) {
        if (!is_marked(buffer, i)) continue;
        if (is_marked(sums, i))
          elements(sums, i).add_(elements(buffer, i));
        else
          elements(sums, i).copy_(elements(buffer, i));
        mark(sums, i);
      }
    return sums;
  }

  // sums: by parameter, made where the first piece of it arrives.
  void take(const torch::Tensor& buffer, std::vector<torch::Tensor>& sums) const {
    for (std::size_t i = 0; i < pieces_.size(); ++i) {
      if (!is_marked(buffer, i)) continue;
      const torch::Tensor& parameter = parameters_[pieces_[i].parameter];
      torch::Tensor& sum = sums[pieces_[i].parameter];
      const torch::Tensor& like = parameter.grad().defined() ? parameter.grad() : parameter;
      if (!sum.defined()) sum = torch::empty_like(like, like.options().requires_grad(false));
      piece_rows(sum, pieces_[i]).copy_(elements(buffer, i));
    }
  }

 private:
  static void mark(const torch::Tensor& buffer, std::size_t piece) {
    buffer.mutable_data_ptr<std::uint8_t>()[piece] = 1;
  }
  static bool is_marked(const torch::Tensor& buffer, std::size_t piece) {
    return buffer.const_data_ptr<std::uint8_t>()[piece] != 0;
  }
  torch::Tensor elements(const torch::Tensor& buffer, std::size_t i) const {
    const torch::Tensor rows = piece_rows(parameters_[pieces_[i].parameter], pieces_[i]);
    return buffer.narrow(0, offsets_[i], static_cast<std::int64_t>(rows.nbytes()))
        .view(rows.scalar_type())
        .view(rows.sizes());
  }

  const std::vector<torch::Tensor>& parameters_;
  std::vector<GradientPiece> pieces_;
  std::vector<std::int64_t> offsets_;  // [piece]
  std::int64_t bytes_ = 0;
};

std::vector<OwnerPieces> pieces_by_owner(const std::vector<torch::Tensor>& parameters,
                                         std::size_t lanes) {
  std::vector<ParameterSize> sizes;
  for (const torch::Tensor& parameter : parameters)
    sizes.push_back({parameter.dim() == 0 ? 1 : parameter.size(0),
                     static_cast<std::int64_t>(parameter.nbytes())});
  const auto pieces = deal_pieces(sizes, lanes, /*lie_apart=*/false);
  std::vector<OwnerPieces> by_owner;
  for (std::size_t owner = 0; owner < lanes; ++owner)
    by_owner.emplace_back(pieces, owner, parameters);
  return by_owner;
}

// What every lane at work has of this one's pieces, by lane.
std::vector<torch::Tensor> exchanged_parts(World& world, Cancellation* until,
                                           const StageRanks& stage,
                                           const std::vector<OwnerPieces>& pieces) {
  const std::size_t own = stage.own;
  std::vector<torch::Tensor> parts(pieces.size());
  std::vector<Message> messages;
  for (std::size_t lane = 0; lane < pieces.size() && !pieces[own].empty(); ++lane) {
    if (lane == own) continue;
    parts[lane] = pieces[own].empty_buffer();
    messages.push_back(world.irecv(parts[lane], stage.ranks[lane], kPartTag, until));
  }
  for (std::size_t owner = 0; owner < pieces.size(); ++owner)
    if (owner != own && !pieces[owner].empty())
      messages.push_back(
          world.isend(pieces[owner].own_buffer(), stage.ranks[owner], kPartTag, until));
  parts[own] = pieces[own].own_buffer();
  for (Message& message : messages) message.wait();
  return parts;
}

// By owner; own_sum: undefined where this lane has no part in them.
std::vector<torch::Tensor> exchanged_sums(World& world, Cancellation* until,
                                          const StageRanks& stage,
                                          const std::vector<OwnerPieces>& pieces,
                                          const torch::Tensor& own_sum) {
  std::vector<torch::Tensor> sums(pieces.size());
  std::vector<Message> messages;
  for (std::size_t owner = 0; owner < pieces.size(); ++owner) {
    if (pieces[owner].empty()) continue;
    sums[owner] = owner == stage.own ? own_sum : pieces[owner].empty_buffer();
    if (owner != stage.own)
      messages.push_back(world.irecv(sums[owner], stage.ranks[owner], kSumTag, until));
  }
  for (std::size_t lane = 0; lane < stage.ranks.size() && own_sum.defined(); ++lane)
    if (lane != stage.own && !pieces[stage.own].empty())
      messages.push_back(world.isend(own_sum, stage.ranks[lane], kSumTag, until));
  for (Message& message : messages) message.wait();
  return sums;
}

}  // namespace

void sum_gradients_of_lanes(World& world, Cancellation* until, const StageRanks& stage,
                            std::size_t lanes, const std::vector<torch::Tensor>& parameters) {
  const torch::NoGradGuard no_gradients;
  const auto pieces = pieces_by_owner(parameters, lanes);
  torch::Tensor own_sum;
  if (stage.own < lanes)
    own_sum = pieces[stage.own].sum(exchanged_parts(world, until, stage, pieces));
  const auto buffers = exchanged_sums(world, until, stage, pieces, own_sum);
  std::vector<torch::Tensor> sums(parameters.size());
  for (std::size_t owner = 0; owner < lanes; ++owner)
    if (buffers[owner].defined()) pieces[owner].take(buffers[owner], sums);
  for (std::size_t i = 0; i < parameters.size(); ++i) parameters[i].mutable_grad() = sums[i];
}

}  // namespace lamp
