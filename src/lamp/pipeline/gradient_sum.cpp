// Gradients handed over by their lanes, summed by their owners.
#include "lamp/pipeline/gradient_sum.h"

#include <torch/csrc/autograd/function_hook.h>
#include <torch/csrc/autograd/variable.h>
#include <torch/utils.h>

#include <algorithm>
#include <memory>
#include <numeric>
#include <utility>

#include "lamp/pipeline/chain_copy.h"
#include "lamp/pipeline/transfer.h"

namespace lamp {
namespace {

torch::Tensor rows_of(const torch::Tensor& tensor, const GradientPiece& piece) {
  return tensor.dim() == 0 ? tensor : tensor.narrow(0, piece.first, piece.count);
}

// In lane order, on `device`, into `to`, which lies there or elsewhere. Lanes' own tensors stay as
// they are: torch may have taken a gradient without a copy, and then its memory may still be read
// in that lane's backward pass.
void sum_in_order(const std::vector<SentTensor>& gradients, const GradientPiece& piece,
                  c10::Device device, torch::Tensor to) {
  torch::Tensor sum;
  int summands = 0;
  for (const SentTensor& sent : gradients) {
    if (!sent.tensor().defined()) continue;
    const bool is_whole = sent.tensor().dim() == 0;
    const torch::Tensor part =
        is_whole ? sent.on(device) : sent.rows(piece.first, piece.count).on(device);
    ++summands;
    if (summands == 1)
      sum = part;
    else if (summands > 2)
      sum.add_(part);
    else if (to.device() == device)
      sum = at::add_out(to, sum, part);
    else
      sum = sum + part;
  }
  if (summands == 1 || to.device() != device) to.copy_(sum);
}

// A piece for each owner, of rows that differ by one at most; none without rows.
void share_rows(std::vector<GradientPiece>& pieces, std::size_t parameter, std::int64_t rows,
                std::size_t first_owner, std::size_t owners) {
  const auto count = static_cast<std::int64_t>(owners);
  for (std::int64_t k = 0; k < count; ++k) {
    const std::int64_t first = k * rows / count, last = (k + 1) * rows / count;
    if (first < last)
      pieces.push_back({parameter, first_owner + static_cast<std::size_t>(k), first, last - first});
  }
}

}  // namespace

std::vector<GradientPiece> deal_pieces(const std::vector<ParameterSize>& sizes, std::size_t lanes,
                                       bool lie_apart) {
  const std::size_t first = lie_apart && lanes > 2 ? 1 : 0;
  std::vector<std::size_t> order;  // of small ones
  std::vector<std::int64_t> dealt(lanes - first, 0);
  std::vector<GradientPiece> pieces;
  for (std::size_t i = 0; i < sizes.size(); ++i)
    if (sizes[i].bytes < kLargeParameterBytes)
      order.push_back(i);
    else
      share_rows(pieces, i, sizes[i].rows, first, dealt.size());
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return sizes[a].bytes > sizes[b].bytes; });
  for (const std::size_t i : order) {
    const auto least = std::min_element(dealt.begin(), dealt.end());
    pieces.push_back(
        {i, first + static_cast<std::size_t>(least - dealt.begin()), 0, sizes[i].rows});
    *least += sizes[i].bytes;
  }
  std::stable_sort(pieces.begin(), pieces.end(),
                   [](const auto& a, const auto& b) { return a.parameter < b.parameter; });
  return pieces;
}

// On a lane's parameter: torch calls it in the backward pass, once a graph, with the gradient
// added.
class GradientSum::Hook : public torch::autograd::PostAccumulateGradHook {
 public:
  Hook(GradientSum& sum, std::size_t lane, std::size_t parameter)
      : sum_(sum), lane_(lane), parameter_(parameter) {}
  void operator()(const torch::Tensor&) override { sum_.after_gradient(lane_, parameter_); }

 private:
  GradientSum& sum_;
  std::size_t lane_;
  std::size_t parameter_;
};

GradientSum::~GradientSum() {
  for (const LaneShare& lane : lanes_)
    for (const torch::Tensor& parameter : lane.parameters)
      torch::autograd::impl::set_post_acc_grad_hooks(parameter, nullptr);
}

void GradientSum::add_lane(const std::vector<torch::Tensor>& parameters) {
  const std::size_t lane = lanes_.size();
  if (lane == 0)
    for (const torch::Tensor& parameter : parameters)
      sizes_.push_back({parameter.dim() == 0 ? 1 : parameter.size(0),
                        static_cast<std::int64_t>(parameter.nbytes())});
  TORCH_CHECK(parameters.size() == sizes_.size(), "lane ", lane, " has ", parameters.size(),
              " parameters, expected ", sizes_.size());
  lanes_.push_back({.parameters = parameters, .sent = std::vector<SentTensor>(parameters.size())});
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    lanes_.back().places[parameters[i].unsafeGetTensorImpl()] = i;
    side_.add(parameters[i].device());
    torch::autograd::impl::set_post_acc_grad_hooks(parameters[i],
                                                   std::make_unique<Hook>(*this, lane, i));
  }
}

std::vector<GradientPiece> GradientSum::pieces_among(std::size_t lanes) const {
  const bool lie_apart =
      !sizes_.empty() && std::any_of(lanes_.begin(), lanes_.end(), [&](const LaneShare& lane) {
        return lane.parameters.front().device() != lanes_.front().parameters.front().device();
      });
  return deal_pieces(sizes_, lanes, lie_apart);
}

void GradientSum::send_weights() {
  side_.wait_for_thread();  // for the optimizer, and for the last step's reads
  const torch::NoGradGuard no_gradients;
  const SideStreams::Scope beside(side_);
  const LaneShare& first = lanes_.front();
  const auto is_sent_in_pieces = [&](const LaneShare& lane, std::size_t i) {
    return lane.parameters[i].device() != first.parameters[i].device() &&
           lane.parameters[i].scalar_type() == first.parameters[i].scalar_type();
  };
  for (const LaneShare& lane : lanes_)
    for (std::size_t i = 0; i < sizes_.size(); ++i)
      if (&lane != &first && !is_sent_in_pieces(lane, i))
        take_value(first.parameters[i], lane.parameters[i]);
  for (const GradientPiece& piece : pieces_among(lanes_.size())) {
    const std::size_t i = piece.parameter;
    const LaneShare& owner = lanes_[piece.owner];
    const torch::Tensor owned = rows_of(owner.parameters[i], piece);
    if (is_sent_in_pieces(owner, i)) owned.copy_(rows_of(first.parameters[i], piece));
    for (const LaneShare& lane : lanes_)
      if (&lane != &owner && is_sent_in_pieces(lane, i))
        rows_of(lane.parameters[i], piece).copy_(owned);
    if (side_.empty()) continue;
    for (LaneShare& lane : lanes_) lane.sent[i] = SentTensor(lane.parameters[i]);
  }
}

void GradientSum::await_weights(std::size_t lane, const torch::nn::Module& layer) const {
  if (side_.empty()) return;
  const LaneShare& own = lanes_[lane];
  for (const torch::Tensor& parameter : layer.parameters())
    own.sent.at(own.places.at(parameter.unsafeGetTensorImpl())).on(parameter.device());
}

void GradientSum::reset(std::size_t lanes) {
  const std::lock_guard lock(mutex_);
  cancelled_ = false;
  pieces_ = pieces_among(std::max<std::size_t>(lanes, 1));
  gradients_.resize(sizes_.size());
  for (auto& by_lane : gradients_) by_lane = std::vector<SentTensor>(lanes);
  missing_.assign(sizes_.size(), lanes);
  unsummed_.assign(sizes_.size(), 0);
  sums_ = std::vector<torch::Tensor>(sizes_.size());
  for (LaneShare& lane : lanes_) {
    lane.in_last_backward = false;
    lane.handed_over.assign(sizes_.size(), false);
    lane.complete.clear();
    lane.left = 0;
  }
  for (std::size_t lane = 1; lane < lanes_.size(); ++lane)
    for (const torch::Tensor& parameter : lanes_[lane].parameters) parameter.mutable_grad().reset();
  for (const GradientPiece& piece : pieces_) {
    ++lanes_[piece.owner].left;
    ++unsummed_[piece.parameter];
  }
}

void GradientSum::begin_last_backward(std::size_t lane) {
  const std::lock_guard lock(mutex_);
  lanes_[lane].in_last_backward = true;
}

void GradientSum::finish(std::size_t lane) {
  {
    const std::lock_guard lock(mutex_);
    lanes_[lane].in_last_backward = false;
  }
  for (std::size_t i = 0; i < sizes_.size(); ++i) hand_over(lane, i);
  while (const auto piece = next_own(lane, /*waits=*/true)) sum_piece(*piece);
}

void GradientSum::take_sums() {
  for (std::size_t i = 0; i < sizes_.size(); ++i) {
    if (!sums_[i].defined() || unsummed_[i] > 0) continue;
    SentTensor sum;
    {
      const SideStreams::Scope beside(side_);
      sum = SentTensor(std::exchange(sums_[i], torch::Tensor()));
    }
    const torch::Tensor& first = lanes_.front().parameters[i];
    first.mutable_grad() = sum.on(first.device());
  }
}

void GradientSum::cancel() {
  const std::lock_guard lock(mutex_);
  cancelled_ = true;
  changed_.notify_all();
}

// Never waits: other lanes' backward passes may need this one.
void GradientSum::after_gradient(std::size_t lane, std::size_t parameter) {
  {
    const std::lock_guard lock(mutex_);
    if (!lanes_[lane].in_last_backward || cancelled_) return;
  }
  hand_over(lane, parameter);
  while (const auto piece = next_own(lane, /*waits=*/false)) sum_piece(*piece);
}

// Once: the first lane's gradient is then the sum's place.
void GradientSum::hand_over(std::size_t lane, std::size_t parameter) {
  LaneShare& from = lanes_[lane];
  const std::lock_guard lock(mutex_);
  if (from.handed_over[parameter]) return;
  from.handed_over[parameter] = true;
  gradients_[parameter][lane] =
      SentTensor(std::exchange(from.parameters[parameter].mutable_grad(), {}));
  if (--missing_[parameter] == 0) begin_sum(parameter);
}

void GradientSum::begin_sum(std::size_t parameter) {
  const auto& gradients = gradients_[parameter];
  const auto like = std::find_if(gradients.begin(), gradients.end(),
                                 [](const SentTensor& sent) { return sent.tensor().defined(); });
  const bool is_any = like != gradients.end();
  if (is_any) {
    const SideStreams::Scope beside(side_);
    const torch::Tensor& first = lanes_.front().parameters[parameter];
    sums_[parameter] = torch::empty_like(
        like->tensor(), like->tensor().options().device(first.device()).requires_grad(false));
  }
  for (std::size_t index = 0; index < pieces_.size(); ++index) {
    if (pieces_[index].parameter != parameter) continue;
    LaneShare& owner = lanes_[pieces_[index].owner];
    if (is_any)
      owner.complete.push_back(index);
    else
      --owner.left;
  }
  changed_.notify_all();
}

std::optional<std::size_t> GradientSum::next_own(std::size_t lane, bool waits) {
  LaneShare& own = lanes_[lane];
  std::unique_lock lock(mutex_);
  if (waits) {
    changed_.wait(lock, [&] { return cancelled_ || own.left == 0 || !own.complete.empty(); });
    if (cancelled_) throw Cancelled();
  }
  if (own.complete.empty()) return std::nullopt;
  const std::size_t index = own.complete.back();
  own.complete.pop_back();
  --own.left;
  return index;
}

void GradientSum::sum_piece(std::size_t index) {
  const torch::NoGradGuard no_gradients;
  const SideStreams::Scope beside(side_);
  const GradientPiece& piece = pieces_[index];
  const std::size_t i = piece.parameter;
  // Nobody writes either while pieces of the parameter are left.
  sum_in_order(gradients_[i], piece, lanes_[piece.owner].parameters[i].device(),
               rows_of(sums_[i], piece));
  const std::lock_guard lock(mutex_);
  if (--unsummed_[i] == 0) gradients_[i].clear();
}

}  // namespace lamp
